//! What can be asked of the registry.

use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::{References, SchemaName, TopicName};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Compatibility, SchemaSpec, Status, SubscriptionSpec, TopicSpec};
use posthorn_domain::units::Dur;

use super::keys::Keep;

/// A wish to change something, already read and checked by itself.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Make or replace a topic.
    PutTopic { name: TopicName, spec: TopicSpec, when: Precondition },
    /// Delete a topic, with `force` also under its subscriptions.
    DeleteTopic { name: TopicName, force: bool, when: Precondition },
    /// Add a version of a schema; its document compiles.
    AddVersion { name: SchemaName, spec: SchemaSpec, basis: Basis },
    /// Say that a version should not be used any more, or take that back.
    Deprecate { name: SchemaName, version: u32, message: Option<String>, when: Precondition },
    /// Set how versions must fit.
    PutSchema { name: SchemaName, compatibility: Compatibility, when: Precondition },
    /// Delete a version.
    DeleteVersion { name: SchemaName, version: u32, when: Precondition },
    /// Delete a schema with all its versions.
    DeleteSchema { name: SchemaName, when: Precondition },
    /// Make a subscription.
    CreateSubscription { id: SubscriptionId, spec: SubscriptionSpec },
    /// Replace what its owner decides.
    ReplaceSubscription { id: SubscriptionId, spec: SubscriptionSpec, keep: Keep, when: Precondition },
    /// Pause or resume.
    SetStatus { id: SubscriptionId, status: Status, when: Precondition },
    /// Disable, because a node found the endpoint gone. The reason is shown.
    Disable { id: SubscriptionId, reason: String },
    /// Make new secrets; the old ones sign for `overlap` more.
    RotateSecret { id: SubscriptionId, overlap: Dur, when: Precondition },
    /// Delete a subscription.
    DeleteSubscription { id: SubscriptionId, when: Precondition },
}

/// What a new version was checked against.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Basis {
    /// The newest version then.
    pub(crate) latest: Option<u32>,
    /// The mode then.
    pub(crate) compatibility: Compatibility,
    /// What its references were settled to.
    pub(crate) references: References,
}

/// What must hold of the resource as it is (RFC 9110 §13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// It has one of these revisions.
    IfMatch(Vec<u64>),
    /// It is there.
    IfAny,
    /// It is not there.
    IfAbsent,
}

impl Precondition {
    /// Whether it holds of a resource at this revision, `None` when there is none.
    pub(crate) fn check(&self, current: Option<u64>) -> Result<(), Problem> {
        let holds = match self {
            Self::None => true,
            Self::IfMatch(revisions) => current.is_some_and(|current| revisions.contains(&current)),
            Self::IfAny => current.is_some(),
            Self::IfAbsent => current.is_none(),
        };
        if holds {
            return Ok(());
        }
        let refused = |detail: String| Problem::new(Code::PreconditionFailed, detail);
        Err(match current {
            None => refused("there is no such resource, and If-Match asks for one".into()),
            Some(current) => refused(format!("the resource is at revision {current}; read it again and repeat the change on it"))
                .with("etag", etag(current)),
        })
    }
}

/// The entity tag of a revision.
pub(crate) fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

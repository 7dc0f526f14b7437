//! One variant as it runs: the process, where events go, and what is due at the receiver.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use http::HeaderMap;
use url::Url;

use super::posthorn::Posthorn;
use super::rig::Rig;
use crate::child::Child;
use crate::dial::{Protocol, Server};
use crate::scenario::{ExternalSpec, ForwarderSpec, Subscribe, System, Variant, Via};

/// The group that forwarders and the generator alone send to.
pub(super) const PLAIN_GROUP: &str = "ok";

/// A variant that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) kind: Kind,
    /// Deliveries that are due for each event of any topic.
    deliveries: u64,
    /// And those for each event of one topic.
    of_topic: BTreeMap<u32, u64>,
    /// The groups in which they arrive.
    pub(super) groups: Vec<String>,
    /// What earlier steps sent, by their names.
    pub(super) sent: BTreeMap<String, Due>,
    /// Deliveries a second that earlier steps reached.
    pub(super) reached: BTreeMap<String, f64>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Raw,
    Forwarder(Child),
    /// Empty only while it is restarted.
    Posthorn(Option<Box<Posthorn>>),
    External(Box<ExternalSpec>),
}

/// What one step sent, and what is to arrive of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) run: u32,
    pub(super) deliveries: u64,
    pub(super) events: u64,
}

impl Running {
    pub(super) async fn start(variant: &Variant, rig: &Rig, posthorn: &Path) -> Result<Self> {
        let plain = vec![PLAIN_GROUP.to_owned()];
        let (kind, deliveries, groups) = match &variant.system {
            System::Raw => (Kind::Raw, 1, plain),
            System::Forwarder(spec) => (Kind::Forwarder(forwarder(rig, spec).await?), u64::from(spec.fan_out), plain),
            System::Posthorn(spec) => (Kind::Posthorn(Some(Box::new(Posthorn::start(posthorn, spec, rig).await?))), 0, Vec::new()),
            System::External(spec) => (Kind::External(spec.clone()), spec.deliveries, Vec::new()),
        };
        Ok(Self { kind, deliveries, of_topic: BTreeMap::new(), groups, sent: BTreeMap::new(), reached: BTreeMap::new() })
    }

    /// The processes whose use is the gateway's.
    pub(super) fn pids(&self) -> Vec<u32> {
        match &self.kind {
            Kind::Raw => Vec::new(),
            Kind::Forwarder(child) => vec![child.pid()],
            Kind::Posthorn(posthorn) => posthorn.iter().map(|posthorn| posthorn.child.pid()).collect(),
            Kind::External(spec) => spec.pids.clone(),
        }
    }

    /// Where events go: the server, the paths in turn, and headers of every request.
    pub(super) fn target(&self, rig: &Rig, protocol: Protocol) -> Result<(Arc<Server>, Vec<String>, HeaderMap)> {
        let loopback = |address| Url::parse(&format!("http://{address}")).context("a URL");
        let path = vec![format!("/{PLAIN_GROUP}/0")];
        let (url, paths, ca, mut headers) = match &self.kind {
            Kind::Raw => (loopback(rig.receiver.doors.data)?, path, None, HeaderMap::new()),
            Kind::Forwarder(child) => (loopback(child.doors.data)?, path, None, HeaderMap::new()),
            Kind::Posthorn(_) => {
                let posthorn = self.posthorn()?;
                (loopback(posthorn.child.doors.data)?, posthorn.paths(), None, HeaderMap::new())
            }
            Kind::External(spec) => {
                let path = spec.url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
                (spec.url.clone(), vec![path], spec.ca.as_deref(), headers_of(spec)?)
            }
        };
        let server = Server::of(&url, protocol, ca)?;
        if protocol == Protocol::H1 && !headers.contains_key(http::header::HOST) {
            headers.insert(http::header::HOST, server.authority().parse()?);
        }
        Ok((Arc::new(server), paths, headers))
    }

    pub(super) fn posthorn(&self) -> Result<&Posthorn> {
        match &self.kind {
            Kind::Posthorn(Some(posthorn)) => Ok(posthorn),
            _ => bail!("this step is for Posthorn"),
        }
    }

    /// Deliveries that are due for each event that is sent to this topic, or to each in turn.
    ///
    /// # Errors
    /// When that cannot be told: events go to each topic, and only one of them has subscriptions of its own.
    pub(super) fn each(&self, topic: Option<u32>) -> Result<u64> {
        match topic {
            Some(topic) => Ok(self.deliveries + self.of_topic.get(&topic).copied().unwrap_or_default()),
            None if self.of_topic.is_empty() => Ok(self.deliveries),
            None => bail!("topics have subscriptions of their own: say which `topic` to send to"),
        }
    }

    pub(super) async fn subscribe(&mut self, subscribe: &Subscribe, rig: &Rig) -> Result<()> {
        self.posthorn()?.subscribe(subscribe, rig).await?;
        if subscribe.counted {
            let each = subscribe.topic.map_or(&mut self.deliveries, |topic| self.of_topic.entry(topic).or_default());
            *each += u64::from(subscribe.count);
            self.groups.push(subscribe.group.clone());
        }
        Ok(())
    }

    pub(super) async fn restart(&mut self) -> Result<f64> {
        let Kind::Posthorn(slot) = &mut self.kind else { bail!("this step is for Posthorn") };
        let stopped = slot.take().context("it runs")?;
        let posthorn = stopped.restart().await?;
        let millis = posthorn.child.ready_after.as_secs_f64() * 1e3;
        *slot = Some(Box::new(posthorn));
        Ok(millis)
    }
}

async fn forwarder(rig: &Rig, spec: &ForwarderSpec) -> Result<Child> {
    let ForwarderSpec { sign, fan_out, via } = *spec;
    let target = rig.address(via)?.to_string();
    let mut arguments = vec!["forwarder".to_owned(), "--target".to_owned(), target, "--group".to_owned(), PLAIN_GROUP.to_owned()];
    arguments.extend(["--fan-out".to_owned(), fan_out.to_string()]);
    if sign {
        arguments.push("--sign".to_owned());
    }
    if via.is_tls() {
        let protocol = if via == Via::TlsH2 { "h2" } else { "h1" };
        arguments.extend(["--tls".to_owned(), protocol.to_owned()]);
        let ca = rig.ca_file().context("the receiver of this scenario has no TLS: receiver: {tls: true}")?;
        arguments.extend(["--ca-file".to_owned(), ca.display().to_string()]);
    }
    Child::start(&rig.own, &arguments, &rig.log(if sign { "signing" } else { "null" })).await
}

fn headers_of(spec: &ExternalSpec) -> Result<HeaderMap> {
    let pair = |(name, value): &(String, String)| {
        anyhow::Ok((name.parse::<http::HeaderName>().with_context(|| name.clone())?, value.parse().with_context(|| name.clone())?))
    };
    spec.headers.iter().map(pair).collect()
}

impl Running {
    /// Deliveries a second that an earlier step reached.
    pub(super) fn reached(&self, of: &str) -> Result<f64> {
        let reached = self.reached.get(of).copied().with_context(|| format!("there is no earlier step {of}"))?;
        anyhow::ensure!(reached > 0.0, "the earlier step {of} delivered nothing");
        Ok(reached)
    }
}

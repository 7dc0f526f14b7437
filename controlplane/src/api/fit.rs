//! Whether a new version fits the earlier ones, and what is answered when it does not.

use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::json::fragment;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::Compatibility;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

use crate::compat::{Gap, Refutation, Verdict, Version, judge};

/// Comparisons at one time.
const AT_ONCE: usize = 2;
/// A comparison recurses as deeply as schemas may be nested, through several functions a level.
const STACK: usize = 256 << 20;
/// Nobody waits longer for a comparison.
const PATIENCE: Duration = Duration::from_secs(30);

/// Compares versions, on threads of its own.
pub(super) struct Judges(Arc<Semaphore>);

impl Default for Judges {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Judges {
    /// Whether `new` fits the earlier versions, the latest first. A comparison that takes too long decides nothing.
    pub(super) async fn judge(&self, mode: Compatibility, new: Arc<Version>, earlier: Vec<Version>) -> Verdict {
        if earlier.is_empty() || mode == Compatibility::None {
            return Verdict::Fits { assumed: Default::default() };
        }
        let with = earlier[0].label.clone();
        let undecided =
            Verdict::Undecided(Gap { direction: if mode.is_backward() { "backward" } else { "forward" }, with, pointer: String::new() });
        let answer = tokio::time::timeout(PATIENCE, self.ask(mode, new, earlier)).await;
        answer.ok().flatten().unwrap_or(undecided)
    }

    async fn ask(&self, mode: Compatibility, new: Arc<Version>, earlier: Vec<Version>) -> Option<Verdict> {
        // The turn goes along with the thread, which may outlast who asked.
        let turn = self.0.clone().acquire_owned().await.ok()?;
        let (answer, answered) = oneshot::channel();
        let thread = std::thread::Builder::new().name("schema-compat".into()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            let verdict = judge(mode, &new, &earlier);
            drop(turn);
            // Who asked may have gone.
            answer.send(verdict).ok();
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a comparison of schemas");
            return None;
        }
        answered.await.ok()
    }
}

/// What a dry run says of it.
pub(super) fn report(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Fits { .. } => json!({"compatible": true, "counterexample": null}),
        Verdict::Refuted(refutation) => {
            let mut report = json!({"compatible": false, "counterexample": refutation.counterexample});
            for (member, value) in members(refutation) {
                report[member] = value;
            }
            report["detail"] = json!(refutation.detail());
            report["errors"] = json!(refutation.faults);
            report
        }
        Verdict::Undecided(gap) => {
            json!({"compatible": false, "undecided": true, "counterexample": null, "pointer": fragment(&gap.pointer),
                "direction": gap.direction, "version": gap.with, "detail": gap.detail()})
        }
    }
}

/// What the publisher of the schema should know although it fits.
pub(super) fn warnings(verdict: &Verdict) -> Vec<String> {
    let Verdict::Fits { assumed } = verdict else { return Vec::new() };
    let about = |name: &String| {
        let name: String = name.chars().take(200).collect();
        format!(
            "`{name}` is declared by one version only: events that carry it without being told of it may be refused; `sample` tries stored ones"
        )
    };
    assumed.iter().take(20).map(about).collect()
}

/// The problem that refuses it.
pub(super) fn refused(verdict: &Verdict) -> Option<Problem> {
    match verdict {
        Verdict::Fits { .. } => None,
        Verdict::Refuted(refutation) => {
            let mut problem = Problem::new(Code::SchemaIncompatible, refutation.detail()).with_errors(refutation.faults.clone());
            problem = problem.with("counterexample", refutation.counterexample.clone());
            Some(members(refutation).into_iter().fold(problem, |problem, (member, value)| problem.with(member, value)))
        }
        Verdict::Undecided(gap) => Some(
            Problem::new(Code::SchemaIncompatible, gap.detail())
                .with("counterexample", Value::Null)
                .with("undecided", true)
                .with("pointer", fragment(&gap.pointer))
                .with("direction", gap.direction)
                .with("version", gap.with.clone()),
        ),
    }
}

fn members(refutation: &Refutation) -> [(&'static str, Value); 4] {
    let pointer = refutation.faults.first().map_or("#", |fault| fault.pointer.as_str());
    [
        ("pointer", json!(pointer)),
        ("direction", json!(refutation.direction)),
        ("taken_by", json!(refutation.taken_by)),
        ("refused_by", json!(refutation.refused_by)),
    ]
}

impl Refutation {
    fn detail(&self) -> String {
        let Self { direction, taken_by, refused_by, .. } = self;
        let why = self.faults.first().map(|fault| format!(" at {}: {}", fault.pointer, fault.detail)).unwrap_or_default();
        format!("not {direction} compatible: `{taken_by}` takes the `counterexample` and `{refused_by}` refuses it{why}")
    }
}

impl Gap {
    fn detail(&self) -> String {
        let Self { direction, with, .. } = self;
        format!(
            "whether it is {direction} compatible with `{with}` cannot be decided: there is neither a proof nor a counterexample; write the \
             schema more plainly at `pointer`, or, when you know better, send it with `override=true` or set the compatibility to `none`"
        )
    }
}

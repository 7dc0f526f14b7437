//! Whether a version of a schema fits the earlier ones. Pure; called by `crate::api` on a thread of its own.
//!
//! First an own proof that every value of the one version is one of the other (`prove`), then a search for a value that is
//! not (`search`), which the compiled schemas confirm. What neither answers is undecided.

mod holds;
mod make;
mod patterns;
mod prove;
mod read;
mod search;
mod shape;
mod shrink;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use posthorn_domain::json::Parser;
use posthorn_domain::problem::Fault;
use posthorn_domain::resource::Compatibility;
use posthorn_domain::schema::{Bundle, CompiledSchema};
use serde_json::Value;

use patterns::Patterns;
use prove::Prover;
use search::Search;
use shape::Shapes;
use view::Conj;

/// A version to be compared.
pub(crate) struct Version {
    /// How it is called in answers.
    pub(crate) label: String,
    /// Its document and what that refers to.
    pub(crate) bundle: Arc<Bundle>,
    /// The same, compiled.
    pub(crate) compiled: Arc<CompiledSchema>,
    /// Whether `format` is asserted.
    pub(crate) formats: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It fits. `assumed` are members that the check took as not being sent before they were declared.
    Fits { assumed: BTreeSet<String> },
    /// It does not.
    Refuted(Refutation),
    /// Nobody can tell.
    Undecided(Gap),
}

/// Why a version does not fit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refutation {
    /// `backward` or `forward`.
    pub(crate) direction: &'static str,
    /// The version that takes the value.
    pub(crate) taken_by: String,
    /// The version that refuses it.
    pub(crate) refused_by: String,
    /// The value.
    pub(crate) counterexample: Value,
    /// Why it is refused.
    pub(crate) faults: Vec<Fault>,
}

/// What could not be decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gap {
    /// `backward` or `forward`.
    pub(crate) direction: &'static str,
    /// The earlier version.
    pub(crate) with: String,
    /// Where in the data, as a pointer.
    pub(crate) pointer: String,
}

enum Answer {
    Within(BTreeSet<String>),
    Not(Value),
    Unknown(String),
}

/// Whether `new` fits the earlier versions, of which the latest comes first. Only it counts unless the mode is transitive.
pub(crate) fn judge(mode: Compatibility, new: &Version, earlier: &[Version]) -> Verdict {
    let (mut assumed, mut gap) = (BTreeSet::new(), None);
    let count = if mode.is_transitive() { earlier.len() } else { 1 };
    for old in earlier.iter().take(count) {
        for (direction, narrow, wide) in [("backward", old, new), ("forward", new, old)] {
            let asked = if direction == "backward" { mode.is_backward() } else { mode.is_forward() };
            if !asked {
                continue;
            }
            match within(narrow, wide) {
                Answer::Within(names) => assumed.extend(names),
                Answer::Not(counterexample) => return Verdict::Refuted(refutation(direction, narrow, wide, counterexample)),
                // A refutation elsewhere says more.
                Answer::Unknown(pointer) => drop(gap.get_or_insert(Gap { direction, with: old.label.clone(), pointer })),
            }
        }
    }
    gap.map_or(Verdict::Fits { assumed }, Verdict::Undecided)
}

fn refutation(direction: &'static str, narrow: &Version, wide: &Version, counterexample: Value) -> Refutation {
    let errors = Parser::new().parse(counterexample.to_string().as_bytes(), |doc| wide.compiled.errors(doc, &wide.label));
    let (taken_by, refused_by) = (narrow.label.clone(), wide.label.clone());
    Refutation { direction, taken_by, refused_by, counterexample, faults: errors.unwrap_or_default() }
}

/// Whether every value that `narrow` takes is taken by `wide`.
fn within(narrow: &Version, wide: &Version) -> Answer {
    let (Ok(of_narrow), Ok(of_wide)) = (narrow.bundle.graph(), wide.bundle.graph()) else {
        return Answer::Unknown(String::new());
    };
    let (mut shapes, patterns) = (Shapes::default(), Patterns::default());
    let inner = read::read(&of_narrow, narrow.formats, &mut shapes);
    let outer = read::read(&of_wide, wide.formats, &mut shapes);
    let mut prover = Prover::new(&mut shapes, &patterns);
    if prover.subset(&Conj::from([inner]), outer) {
        return Answer::Within(prover.assumed);
    }
    let (hints, stuck) = (std::mem::take(&mut prover.witnesses), prover.stuck());
    let mut search = Search::new(&shapes, &patterns, (inner, &narrow.compiled), (outer, &wide.compiled));
    search.run(&hints, &stuck).map_or(Answer::Unknown(stuck), Answer::Not)
}

//! From a schema document to something that checks data.

use std::fmt;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::bundle::Bundle;
use super::complexity::{self, Complexity};
use super::errors::{self, Errors};
use super::meter::Meter;
use super::patterns::{self, MAX_PATTERN_BYTES, Weight};
use super::tape::{Tape, TapeNode};
use crate::json::{Doc, fragment};
use crate::names::{References, SchemaName, SchemaRef};
use crate::problem::Fault;

/// Memory for a pattern's automaton while it runs.
const AUTOMATON_BYTES: usize = 1 << 20;
/// So many subschemas may be entered within each other on a document; more could exhaust a thread's stack.
const MAX_NESTING: usize = 1024;

/// A schema that is ready to check data. Shared by all threads.
pub struct CompiledSchema {
    reference: SchemaRef,
    validator: Validator<Tape>,
    complexity: Complexity,
    weight: Weight,
}

impl CompiledSchema {
    /// Compiles one version of a schema. Takes up to some hundred milliseconds for large ones: not for async threads.
    ///
    /// `assert_formats` makes `format` a demand in every draft; without it `format` is a remark in every draft.
    ///
    /// # Errors
    ///
    /// At least one fault, with pointers into the schema: it is in no known draft or not valid in its own, a reference
    /// leaves the document, a pattern needs look-around or back-references, or it is too large or too complex.
    pub fn compile(name: SchemaName, version: u32, schema: &Value, assert_formats: bool) -> Result<Self, Vec<Fault>> {
        let bundle = Bundle::new(schema, &References::new(), &())?;
        Self::of(SchemaRef { name, version }, &bundle, assert_formats)
    }

    /// The same for a document with references to registered ones; `assert_formats` holds for all of them. The limits on
    /// one schema hold for all of its bundle together.
    ///
    /// # Errors
    ///
    /// As [`CompiledSchema::compile`].
    pub fn of(reference: SchemaRef, bundle: &Bundle, assert_formats: bool) -> Result<Self, Vec<Fault>> {
        let complexity = complexity::measure(&bundle.graph()?).map_err(|fault| vec![fault])?;
        let weight = patterns::weigh(bundle.documents()).map_err(|fault| vec![fault])?;
        let registry = jsonschema::Registry::new()
            .extend(bundle.registered())
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| vec![Fault { schema: None, pointer: "#".into(), detail: errors::shortened(&error.to_string()) }])?;
        let options = jsonschema::options_for::<Tape>()
            .with_draft(bundle.draft())
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(AUTOMATON_BYTES))
            .should_validate_formats(assert_formats)
            .offline();
        let built = if bundle.others().next().is_some() {
            options.with_registry(&registry).build(bundle.root())
        } else {
            options.build(bundle.root())
        };
        let validator = built.map_err(|error| vec![build_fault(&error)])?;
        Ok(Self { reference, validator, complexity, weight })
    }

    /// About how many subschemas look at one value of the data.
    pub fn paths(&self) -> u64 {
        self.complexity.paths
    }

    /// Its name and version.
    pub fn reference(&self) -> &SchemaRef {
        &self.reference
    }

    /// Whether the data holds to the schema. The work is bounded, to about a second for 1 MiB of the worst data against
    /// the worst schema; data that needs more does not hold.
    pub fn is_valid(&self, doc: Doc<'_>) -> bool {
        if self.is_too_deep(doc) {
            return false;
        }
        let meter = Meter::for_checking(doc.node_count(), self.weight);
        self.validator.is_valid(TapeNode::Doc(doc, &meter)) && !meter.is_spent()
    }

    /// Why the data does not hold: at most 20 faults, with `label` as their schema. Their texts name keys and what the
    /// schema wants, never values of the data. Empty if the data holds.
    pub fn errors(&self, doc: Doc<'_>, label: &str) -> Vec<Fault> {
        if self.is_valid(doc) {
            return Vec::new();
        }
        let errors = Errors { label, validator: &self.validator };
        if self.is_too_deep(doc) {
            return errors.one("the data is nested too deeply for this recursive schema");
        }
        errors.explain(doc, self.complexity.paths, self.weight)
    }

    fn is_too_deep(&self, doc: Doc<'_>) -> bool {
        // The parser allows 128 levels, so most schemas need not look.
        self.complexity.recursive
            && self.complexity.chain * (crate::json::MAX_DEPTH + 1) > MAX_NESTING
            && self.complexity.chain * (doc.depth() + 1) > MAX_NESTING
    }
}

impl fmt::Debug for CompiledSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledSchema").field("reference", &self.reference).field("complexity", &self.complexity).finish_non_exhaustive()
    }
}

/// A schema holds no secrets, so the error may quote it; only its length is bounded.
fn build_fault(error: &ValidationError<'_>) -> Fault {
    let detail = errors::shortened(&error.to_string());
    let hint = if detail.contains("regex") { "; patterns have no look-around, no back-references and a limited size" } else { "" };
    Fault { schema: None, pointer: fragment(error.instance_path().as_str()), detail: format!("{detail}{hint}") }
}

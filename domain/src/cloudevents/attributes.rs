//! Collects the attributes of one event and holds them to the rules of CloudEvents §Context Attributes.
//!
//! Every door fills one of these: both JSON modes, binary mode, and the doors that bring their own framing.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::refusal;
use super::values;
use crate::event::{AttrKind, EventBuilder};
use crate::problem::{Code, Problem};

/// How many attributes one event may have. Looking for duplicates is linear in it.
pub const MAX_ATTRIBUTES: usize = 256;

/// Where attributes come from, which decides what problems call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Members of a JSON object (also fit for other structured framings).
    Json,
    /// `ce-` headers.
    Headers,
}

/// The attributes of one event while they are read.
#[derive(Debug)]
pub struct Attributes<'a> {
    door: Door,
    entries: SmallVec<[Entry<'a>; 12]>,
}

#[derive(Debug)]
struct Entry<'a> {
    name: Cow<'a, str>,
    kind: AttrKind,
    /// `None` for a JSON null, which counts as absent but still takes its name.
    value: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    /// None yet.
    pub fn new(door: Door) -> Self {
        Self { door, entries: SmallVec::new() }
    }

    /// Adds an attribute whose value is given as its canonical string, `specversion` included.
    ///
    /// # Errors
    /// A bad name, a name that was there already, a value that breaks a rule, or more than [`MAX_ATTRIBUTES`].
    pub fn add(&mut self, name: Cow<'a, str>, kind: AttrKind, value: Cow<'a, str>) -> Result<(), Problem> {
        if kind != AttrKind::String && values::is_stringly(&name) {
            return Err(self.refuse(&name, "must be a string"));
        }
        values::check(&name, &value).map_err(|detail| self.refuse(&name, detail))?;
        self.push(Entry { name, kind, value: Some(value) })
    }

    /// Notes an attribute that is there but unset (JSON null).
    ///
    /// # Errors
    /// As [`Attributes::add`].
    pub fn add_unset(&mut self, name: Cow<'a, str>) -> Result<(), Problem> {
        self.push(Entry { name, kind: AttrKind::String, value: None })
    }

    fn push(&mut self, entry: Entry<'a>) -> Result<(), Problem> {
        values::check_name(&entry.name).map_err(|detail| self.refuse(&entry.name, detail))?;
        if self.entries.iter().any(|other| other.name == entry.name) {
            return Err(self.refuse(&entry.name, "is given twice; give each attribute once"));
        }
        if self.entries.len() == MAX_ATTRIBUTES {
            return Err(Problem::new(Code::InvalidEvent, format!("more than {MAX_ATTRIBUTES} attributes; put details into the data")));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The value of an attribute that was added.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|entry| entry.name == name)?.value.as_deref()
    }

    /// The event's attributes, ready for its data.
    ///
    /// # Errors
    /// A required attribute is missing.
    pub fn finish(self) -> Result<EventBuilder, Problem> {
        self.required("specversion")?;
        let mut builder = EventBuilder::new(self.required("id")?, self.required("source")?, self.required("type")?);
        for entry in &self.entries {
            if let (Some(value), false) = (&entry.value, is_required(&entry.name)) {
                builder.push(&entry.name, entry.kind, value);
            }
        }
        Ok(builder)
    }

    fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| match name {
            "specversion" => self.refuse(name, "is missing; every event must say \"1.0\""),
            _ => self.refuse(name, "is missing; every event must have it"),
        })
    }

    fn refuse(&self, name: &str, detail: &str) -> Problem {
        match self.door {
            Door::Json => refusal::member(name, detail),
            Door::Headers if name == "datacontenttype" => refusal::header("content-type", detail),
            Door::Headers => refusal::header(&format!("ce-{name}"), detail),
        }
    }
}

fn is_required(name: &str) -> bool {
    matches!(name, "specversion" | "id" | "source" | "type")
}

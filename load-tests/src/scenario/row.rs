//! Rows and plots of the report: which figures are shown, against which, and what was aimed at.

use serde_json::Value;

use crate::fields::{Faults, Fields};

/// A figure of the report. `of`, `minus` and `against` are `variant/step/measure`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is.
    pub label: String,
    /// Its unit.
    pub unit: String,
    /// The figure.
    pub of: String,
    /// Taken off it.
    pub minus: Option<String>,
    /// Then divided by this.
    pub per: f64,
    /// The ratio is to this one, of the same round.
    pub against: Option<String>,
    /// What was aimed at, for the ratio if there is one.
    pub aim: Option<Aim>,
}

/// An aim.
#[derive(Debug, Clone, PartialEq)]
pub struct Aim {
    /// Its place in the table of aims.
    pub number: u64,
    /// Met at or above (`true`), or at or below.
    pub at_least: bool,
    /// The limit.
    pub limit: f64,
}

/// A drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plot {
    /// What is drawn.
    pub kind: PlotKind,
    /// Its heading.
    pub title: String,
    /// `variant/step`, a line each; of throughput, all steps of a variant make one line.
    pub of: Vec<String>,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotKind {
    /// Publish to delivered, by percentile.
    Latency,
    /// Delivered a second against offered.
    Throughput,
    /// Resident memory over time.
    Memory,
    /// Deliveries a second over time.
    Arrivals,
}

impl Row {
    pub(super) fn read(value: Value, place: &str, faults: &mut Faults) -> Self {
        let mut fields = Fields::of(value, place, faults);
        let row = Self {
            label: fields.need_text("label", faults),
            unit: fields.text("unit", faults).unwrap_or_default(),
            of: fields.need_text("of", faults),
            minus: fields.text("minus", faults),
            per: fields.number("per", 1e-9..=1e12, faults).unwrap_or(1.0),
            against: fields.text("against", faults),
            aim: fields.take("aim").and_then(|aim| Aim::read(aim, &fields.place("aim"), faults)),
        };
        for figure in [Some(&row.of), row.minus.as_ref(), row.against.as_ref()].into_iter().flatten() {
            if figure.split('/').count() != 3 {
                faults.add(place, format!("a figure is `variant/step/measure`, not `{figure}`"));
            }
        }
        fields.end(faults);
        row
    }

    /// `variant/step` of all figures.
    pub fn spans(&self) -> impl Iterator<Item = &str> {
        let figures = [Some(&self.of), self.minus.as_ref(), self.against.as_ref()];
        figures.into_iter().flatten().filter_map(|figure| Some(figure.rsplit_once('/')?.0))
    }
}

impl Aim {
    fn read(value: Value, place: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::of(value, place, faults);
        let number = fields.whole("number", 1..=100, faults).unwrap_or_default();
        let bounds = 0.0..=1e12;
        let (least, most) = (fields.number("at_least", bounds.clone(), faults), fields.number("at_most", bounds, faults));
        fields.end(faults);
        match (least, most) {
            (Some(limit), None) => Some(Self { number, at_least: true, limit }),
            (None, Some(limit)) => Some(Self { number, at_least: false, limit }),
            _ => {
                faults.add(place, "either at_least or at_most is needed");
                None
            }
        }
    }

    /// Whether a figure meets it.
    #[must_use]
    pub fn met(&self, figure: f64) -> bool {
        if self.at_least { figure >= self.limit } else { figure <= self.limit }
    }
}

impl Plot {
    pub(super) fn read(value: Value, place: &str, faults: &mut Faults) -> Self {
        let mut fields = Fields::of(value, place, faults);
        let kind = fields.word("kind", &["latency", "throughput", "memory", "arrivals"], faults);
        let title = fields.need_text("title", faults);
        let of = fields.list("of", faults).iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        fields.end(faults);
        let kind = match kind {
            Some("throughput") => PlotKind::Throughput,
            Some("memory") => PlotKind::Memory,
            Some("arrivals") => PlotKind::Arrivals,
            _ => PlotKind::Latency,
        };
        Self { kind, title, of }
    }
}

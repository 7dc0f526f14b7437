//! Errors of an evaluation: small enough to be carried as values.

use crate::filter::evaluation::FaultKind;

/// An error and the operation that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) why: Why,
    /// Its place among the program's operations.
    pub(super) op: u16,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    MissingAttribute,
    MissingPlace,
    NoKey,
    OutsideList,
    Overflow,
    ZeroDivision,
    CastInteger,
    CastBoolean,
    Conversion,
    UnknownFunction,
    NegativeCount,
    OutsideText,
    NoOverload,
    NoBoolean,
    Spent,
}

impl Why {
    pub(super) fn kind(self) -> FaultKind {
        match self {
            Self::MissingAttribute | Self::MissingPlace | Self::NoKey => FaultKind::MissingAttribute,
            Self::Overflow | Self::ZeroDivision => FaultKind::Math,
            Self::CastInteger | Self::CastBoolean | Self::Conversion => FaultKind::Cast,
            Self::UnknownFunction => FaultKind::MissingFunction,
            Self::NegativeCount | Self::OutsideText => FaultKind::FunctionEvaluation,
            Self::OutsideList | Self::NoOverload | Self::NoBoolean | Self::Spent => FaultKind::Generic,
        }
    }

    /// What a person is told, before the text of the operation.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::MissingAttribute => "the event has no such attribute",
            Self::MissingPlace => "the data has no such place",
            Self::NoKey => "there is no such key",
            Self::OutsideList => "the index is outside of the list",
            Self::Overflow => "the result is out of range",
            Self::ZeroDivision => "division by zero",
            Self::CastInteger => "an operand cannot be cast to an integer",
            Self::CastBoolean => "an operand cannot be cast to a boolean",
            Self::Conversion => "the value cannot be converted",
            Self::UnknownFunction => "there is no function of this name with so many arguments",
            Self::NegativeCount => "the number of characters is negative",
            Self::OutsideText => "the position is outside of the text",
            Self::NoOverload => "the operands' types do not fit",
            Self::NoBoolean => "a condition must be a boolean",
            Self::Spent => "the evaluation took too many steps",
        }
    }
}

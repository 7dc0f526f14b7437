//! The operations of a flat program. Operands are on a stack; jumps go forward, but for a macro's loop.

use crate::filter::expr::{Arithmetic, Compare, Function, Quantifier};

/// A place in one of the program's tables, or in its operations.
pub(super) type Index = u16;

/// One operation. `Sql…` casts its operands as CESQL §3.7 says, the others follow CEL.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Pushes a constant.
    Push(Index),
    /// Pushes an attribute; the name is in `texts`.
    Attribute(Index),
    AttributeExists(Index),
    /// Pushes a value of the data; the pointer is in `pointers`. Strict: names lead into maps only, numbers into lists.
    Data {
        pointer: Index,
        strict: bool,
    },
    DataExists {
        pointer: Index,
        strict: bool,
    },
    /// Pushes the event as a map.
    Event,
    /// Pushes a macro's variable.
    Local(Index),
    /// Replaces a map by its member; the name is in `texts`.
    Field(Index),
    HasField(Index),
    /// Replaces a container and a key by what is there.
    Element,
    Not,
    Negate,
    Compare(Compare),
    Arithmetic(Arithmetic),
    /// CEL's `in`.
    In,
    /// Whether the top equals one of `count` constants.
    InConstants {
        first: Index,
        count: Index,
    },
    Call(Function, Index),
    /// Whether a regular expression of `patterns` is found in the top.
    Matches(Index),
    /// Jumps when the top is false, which stays; else the next operand is evaluated.
    AndElse(Index),
    /// Jumps when the top is true, which stays.
    OrElse(Index),
    /// Joins the two operands: what decides wins over an error.
    And,
    Or,
    /// Takes a condition: goes on, or to `otherwise`, or with an error to `end`.
    Branch {
        otherwise: Index,
        end: Index,
    },
    Jump(Index),
    /// Takes as many elements.
    List(Index),
    /// Takes as many keys and values, in turns.
    Map(Index),
    /// Takes a list or a map and starts a macro; an empty one goes to `end`.
    LoopStart {
        quantifier: Quantifier,
        variable: Index,
        end: Index,
    },
    /// Takes what the predicate gave; goes back to `body` while undecided, else on.
    LoopNext {
        body: Index,
    },
    SqlNot,
    SqlNegate,
    SqlCompare(Compare),
    SqlArithmetic(Arithmetic),
    /// Casts the top to a boolean.
    SqlBool,
    /// Casts the top to a boolean and jumps when it is false; else takes it away.
    SqlAndElse(Index),
    SqlOrElse(Index),
    SqlXor,
    /// Takes an element of `IN`: jumps with `true` instead of the left side when they are equal.
    SqlInTest(Index),
    /// No element was equal.
    SqlInEnd,
    SqlInConstants {
        first: Index,
        count: Index,
    },
    SqlLike(Index),
    SqlCall(Function, Index),
    /// A call of what does not exist.
    SqlUnknown,
}

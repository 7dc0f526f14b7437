//! The syntax tree that all expression dialects share. Parsers make it; the type check and [`super::program`] read it.

use super::atom::Place;

/// A part of an expression and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expr {
    /// Where it stands in the source.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// Bytes of the source. All spans are equal to each other, so that expressions are compared by what they mean.
#[derive(Clone, Copy, Debug, Default, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// What an expression is. The dialect decides about casts and errors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExprKind {
    /// A constant.
    Literal(Constant),
    /// The value of an attribute or of a place in the data that is known beforehand; an error when it is missing.
    Read(Place),
    /// Whether the place has a value: `EXISTS`, `has()`, `exists`.
    Exists(Place),
    /// CEL: `event` as a whole.
    Event,
    /// CEL: the variable of an enclosing macro, counted from the outermost.
    Variable(u16),
    /// CEL: `a.name`; with `test` it is `has(a.name)`.
    Field {
        /// The map.
        of: Box<Expr>,
        /// The key.
        name: Box<str>,
        /// Whether only its presence is asked.
        test: bool,
    },
    /// CEL: `a[b]`.
    Index(Box<Expr>, Box<Expr>),
    /// `NOT`, `!`.
    Not(Box<Expr>),
    /// Unary minus.
    Negate(Box<Expr>),
    /// `AND`, `OR`, `XOR` over two or more, left to right.
    Logic(Logic, Vec<Expr>),
    /// A comparison.
    Compare(Compare, Box<Expr>, Box<Expr>),
    /// Arithmetic; `+` also joins CEL's strings, bytes and lists.
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// CESQL's `IN`, also `in` of the data dialect: equal to one of these.
    OneOf(Box<Expr>, Vec<Expr>),
    /// CEL's `in`: an element of a list, a key of a map.
    In(Box<Expr>, Box<Expr>),
    /// CESQL's `LIKE` with its pattern.
    Like(Box<Expr>, Box<str>),
    /// A function of its arguments; of a CEL method the receiver is the first.
    Call(Function, Vec<Expr>),
    /// CESQL: a function that does not exist; evaluation says so.
    UnknownCall(Box<str>, Vec<Expr>),
    /// A regular expression found in a text; the pattern is known beforehand.
    Matches(Box<Expr>, Box<str>),
    /// CEL: `a ? b : c`.
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// CEL: a list.
    List(Vec<Expr>),
    /// CEL: a map.
    Map(Vec<(Expr, Expr)>),
    /// CEL: a macro over a list's elements or a map's keys.
    Quantified {
        /// Which macro.
        quantifier: Quantifier,
        /// The variable that stands for each element in the predicate.
        variable: u16,
        /// The list or map.
        over: Box<Expr>,
        /// What is asked of each element.
        predicate: Box<Expr>,
    },
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(Double),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    /// CEL: a type, by its name.
    Type(Box<str>),
}

/// A double that is compared by its bits.
#[derive(Clone, Copy, Debug)]
pub struct Double(pub f64);

/// Logical operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Arithmetic operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// CEL's macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

/// The functions of all dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it; docs/filters.md says what they do")]
pub enum Function {
    // CESQL
    SqlInt,
    SqlBool,
    SqlString,
    SqlIsInt,
    SqlIsBool,
    SqlLength,
    SqlConcat,
    SqlConcatWs,
    SqlLower,
    SqlUpper,
    SqlTrim,
    SqlLeft,
    SqlRight,
    SqlSubstring,
    SqlAbs,
    // CEL, and prefix and suffix of the data dialect
    StartsWith,
    EndsWith,
    Contains,
    Lower,
    Upper,
    LowerAscii,
    UpperAscii,
    Trim,
    Size,
    ToInt,
    ToUint,
    ToDouble,
    ToString,
    ToBool,
    ToBytes,
    ToTimestamp,
    ToDuration,
    TypeOf,
    Dyn,
    FullYear,
    Month,
    DayOfMonth,
    Date,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl Expr {
    /// Shows this expression and all its parts, outer before inner.
    pub fn visit<'e>(&'e self, see: &mut impl FnMut(&'e Self)) {
        let mut open = vec![self];
        while let Some(expr) = open.pop() {
            see(expr);
            let from = open.len();
            open.extend(expr.parts());
            open[from..].reverse();
        }
    }

    /// The parts directly below, left to right.
    pub fn parts(&self) -> Vec<&Self> {
        match &self.kind {
            ExprKind::Literal(_) | ExprKind::Read(_) | ExprKind::Exists(_) | ExprKind::Event | ExprKind::Variable(_) => Vec::new(),
            ExprKind::Field { of: inner, .. }
            | ExprKind::Not(inner)
            | ExprKind::Negate(inner)
            | ExprKind::Like(inner, _)
            | ExprKind::Matches(inner, _) => vec![inner],
            ExprKind::Index(left, right)
            | ExprKind::Compare(_, left, right)
            | ExprKind::Arithmetic(_, left, right)
            | ExprKind::In(left, right)
            | ExprKind::Quantified { over: left, predicate: right, .. } => vec![left, right],
            ExprKind::Conditional(condition, then, otherwise) => vec![condition, then, otherwise],
            ExprKind::Logic(_, parts) | ExprKind::Call(_, parts) | ExprKind::UnknownCall(_, parts) | ExprKind::List(parts) => {
                parts.iter().collect()
            }
            ExprKind::OneOf(left, elements) => std::iter::once(&**left).chain(elements).collect(),
            ExprKind::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
        }
    }
}

impl Span {
    /// The text that it covers.
    pub fn of(self, source: &str) -> &str {
        source.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::hash::Hash for Span {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Double {}

impl std::hash::Hash for Double {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

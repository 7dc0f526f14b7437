//! Runs a flat program on one event.

use smallvec::SmallVec;

use super::loops::Loop;
use super::op::Op;
use super::value::Value;
use super::why::{Error, Why};
use super::{Code, cel, container, sql};
use crate::filter::steps::{Spent, Steps};
use crate::filter::view::View;

/// One evaluation.
pub(super) struct Machine<'a> {
    pub(super) code: &'a Code,
    pub(super) view: &'a View<'a>,
    pub(super) stack: SmallVec<[Value<'a>; 12]>,
    pub(super) steps: Steps,
    /// The operation that is under way.
    pub(super) at: usize,
    variables: SmallVec<[Value<'a>; 2]>,
    loops: SmallVec<[Loop<'a>; 1]>,
    /// CESQL's errors; `None` when the first ends the evaluation.
    pub(super) errors: Option<Vec<Error>>,
}

/// Why an evaluation ended early.
#[derive(Debug)]
pub(super) struct Halt(pub(super) Error);

impl<'a> Machine<'a> {
    /// `complete`: CESQL's errors are collected and evaluation goes on.
    pub(super) fn new(code: &'a Code, view: &'a View<'a>, complete: bool) -> Self {
        let nodes = if code.reads_data() { view.data.map_or(0, |data| data.node_count()) } else { 0 };
        Self {
            code,
            view,
            stack: SmallVec::new(),
            steps: Steps::new(nodes),
            at: 0,
            variables: SmallVec::new(),
            loops: SmallVec::new(),
            errors: complete.then(Vec::new),
        }
    }

    /// The value that the program leaves.
    pub(super) fn run(&mut self) -> Result<Value<'a>, Halt> {
        while let Some(op) = self.code.ops.get(self.at) {
            self.spend(1)?;
            match self.step(*op)? {
                Some(to) => self.at = usize::from(to),
                None => self.at += 1,
            }
        }
        Ok(self.pop())
    }

    fn step(&mut self, op: Op) -> Result<Option<u16>, Halt> {
        match op {
            Op::Push(constant) => self.push(Value::of_constant(&self.code.constants[usize::from(constant)])),
            Op::Attribute(name) => self.attribute(name)?,
            Op::AttributeExists(name) => {
                let exists = self.view.attribute(&self.code.texts[usize::from(name)]).is_some();
                self.push(Value::Bool(exists));
            }
            Op::SqlNot => sql::not(self)?,
            Op::SqlNegate => sql::negate(self)?,
            Op::SqlCompare(compare) => sql::compare(self, compare)?,
            Op::SqlArithmetic(operator) => sql::arithmetic(self, operator)?,
            Op::SqlBool => sql::to_bool(self)?,
            Op::SqlAndElse(to) => return sql::short_circuit(self, false, to),
            Op::SqlOrElse(to) => return sql::short_circuit(self, true, to),
            Op::SqlXor => sql::xor(self)?,
            Op::SqlInTest(to) => return sql::in_test(self, to),
            Op::SqlInEnd => sql::in_end(self),
            Op::SqlInConstants { first, count } => sql::in_constants(self, first, count)?,
            Op::SqlLike(pattern) => sql::like(self, pattern)?,
            Op::SqlCall(function, count) => super::sql_functions::call(self, function, usize::from(count))?,
            Op::SqlUnknown => self.fail(Why::UnknownFunction, Value::Bool(false))?,
            other => return self.cel_step(other),
        }
        Ok(None)
    }

    fn cel_step(&mut self, op: Op) -> Result<Option<u16>, Halt> {
        match op {
            Op::Data { pointer, strict } => container::data(self, pointer, strict)?,
            Op::DataExists { pointer, strict } => container::data_exists(self, pointer, strict)?,
            Op::Event => self.push(Value::Event(self.view)),
            Op::Local(variable) => self.push(self.variables[usize::from(variable)].clone()),
            Op::Field(name) => container::field(self, name)?,
            Op::HasField(name) => container::has_field(self, name)?,
            Op::Element => container::element(self)?,
            Op::In => container::is_in(self)?,
            Op::InConstants { first, count } => container::in_constants(self, first, count)?,
            Op::List(count) => container::list(self, usize::from(count))?,
            Op::Map(count) => container::map(self, usize::from(count))?,
            Op::Not => cel::not(self),
            Op::Negate => cel::negate(self),
            Op::Compare(compare) => cel::compare(self, compare)?,
            Op::Arithmetic(operator) => cel::arithmetic(self, operator)?,
            Op::Call(function, count) => super::cel_functions::call(self, function, usize::from(count))?,
            Op::Matches(pattern) => cel::matches(self, pattern)?,
            Op::AndElse(to) => return Ok(self.jump_on(false, to)),
            Op::OrElse(to) => return Ok(self.jump_on(true, to)),
            Op::And => cel::join(self, false),
            Op::Or => cel::join(self, true),
            Op::Branch { otherwise, end } => return Ok(cel::branch(self, otherwise, end)),
            Op::Jump(to) => return Ok(Some(to)),
            Op::LoopStart { quantifier, variable, end } => return Ok(self.loop_start(quantifier, usize::from(variable), end)),
            Op::LoopNext { body } => return Ok(self.loop_next(body)),
            _ => {}
        }
        Ok(None)
    }

    fn attribute(&mut self, name: u16) -> Result<(), Halt> {
        match self.view.attribute(&self.code.texts[usize::from(name)]) {
            Some(attr) => self.push(Value::of_attribute(attr)),
            None if self.code.sql => return self.fail(Why::MissingAttribute, Value::Bool(false)),
            None => self.push_error(Why::MissingAttribute),
        }
        Ok(())
    }

    fn jump_on(&self, decides: bool, to: u16) -> Option<u16> {
        matches!(self.stack.last(), Some(Value::Bool(value)) if *value == decides).then_some(to)
    }

    fn loop_start(&mut self, quantifier: crate::filter::expr::Quantifier, variable: usize, end: u16) -> Option<u16> {
        let over = self.pop();
        let mut new = match Loop::over(quantifier, variable, over) {
            Ok(new) => new,
            Err(over) => {
                self.push_or(over, Why::NoOverload);
                return Some(end);
            }
        };
        match new.advance() {
            Some(element) => {
                self.variables.truncate(variable);
                self.variables.push(element);
                self.loops.push(new);
                None
            }
            None => {
                self.push(new.outcome());
                Some(end)
            }
        }
    }

    fn loop_next(&mut self, body: u16) -> Option<u16> {
        let verdict = match self.pop() {
            value @ (Value::Bool(_) | Value::Error(_)) => value,
            _ => Value::Error(self.error(Why::NoBoolean)),
        };
        let current = self.loops.last_mut()?;
        let next = if current.decide(&verdict) { None } else { current.advance() };
        if let Some(element) = next {
            let variable = current.variable();
            self.variables.truncate(variable);
            self.variables.push(element);
            return Some(body);
        }
        let outcome = current.outcome();
        self.loops.pop();
        self.push(outcome);
        None
    }

    pub(super) fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    /// The compiler leaves one value for each operand, so there is always one.
    pub(super) fn pop(&mut self) -> Value<'a> {
        self.stack.pop().unwrap_or(Value::Null)
    }

    pub(super) fn push_result(&mut self, result: Result<Value<'a>, Why>) {
        match result {
            Ok(value) => self.push(value),
            Err(why) => self.push_error(why),
        }
    }

    pub(super) fn push_error(&mut self, why: Why) {
        let error = self.error(why);
        self.push(Value::Error(error));
    }

    /// An operand that is an error stays one; anything else is not what the operation takes.
    pub(super) fn push_or(&mut self, value: Value<'a>, why: Why) {
        match value {
            Value::Error(_) => self.push(value),
            _ => self.push_error(why),
        }
    }

    pub(super) fn error(&self, why: Why) -> Error {
        // Programs have at most a few operations for each of 256 parts.
        Error { why, op: u16::try_from(self.at).unwrap_or(u16::MAX) }
    }

    /// CESQL: an operation failed; `instead` is what it gives beside its error.
    #[cold]
    pub(super) fn fail(&mut self, why: Why, instead: Value<'a>) -> Result<(), Halt> {
        let error = self.error(why);
        match &mut self.errors {
            Some(errors) => {
                errors.push(error);
                self.push(Value::Failed(Box::new(instead)));
                Ok(())
            }
            None => Err(Halt(error)),
        }
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Halt> {
        let spent = self.steps.take(steps);
        self.spent(spent)
    }

    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), Halt> {
        let spent = self.steps.take_bytes(bytes);
        self.spent(spent)
    }

    pub(super) fn spent<T>(&self, result: Result<T, Spent>) -> Result<T, Halt> {
        result.map_err(|Spent| Halt(self.error(Why::Spent)))
    }
}

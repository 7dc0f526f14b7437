//! From the tree to the flat program.

use super::op::{Index, Op};
use super::{Code, Dialect};
use crate::filter::atom::Place;
use crate::filter::expr::{Constant, Expr, ExprKind, Logic, Quantifier, Span};
use crate::filter::like::LikePattern;
use crate::filter::limits::Unfit;
use crate::filter::regexp::Regexp;
use crate::json::Pointer;

/// Compiles an expression.
///
/// # Errors
///
/// If a regular expression is none, or is too large.
pub(super) fn compile(dialect: Dialect, expr: &Expr) -> Result<Code, Unfit> {
    let mut compiler = Compiler { dialect, code: Code { sql: dialect == Dialect::Sql, ..Code::default() } };
    compiler.expr(expr)?;
    Ok(compiler.code)
}

struct Compiler {
    dialect: Dialect,
    code: Code,
}

impl Compiler {
    /// Emits what leaves the expression's value on the stack.
    fn expr(&mut self, expr: &Expr) -> Result<(), Unfit> {
        let span = expr.span;
        let sql = self.dialect == Dialect::Sql;
        match &expr.kind {
            ExprKind::Literal(constant) => {
                let constant = self.constant(constant);
                self.emit(span, Op::Push(constant));
            }
            ExprKind::Read(place) => self.read(span, place),
            ExprKind::Exists(place) => self.exists(span, place),
            ExprKind::Event => self.emit(span, Op::Event),
            ExprKind::Variable(variable) => self.emit(span, Op::Local(*variable)),
            ExprKind::Field { of, name, test } => {
                self.expr(of)?;
                let name = self.text(name);
                self.emit(span, if *test { Op::HasField(name) } else { Op::Field(name) });
            }
            ExprKind::Index(of, key) => self.all(span, [&**of, key], Op::Element)?,
            ExprKind::Not(inner) => self.all(span, [&**inner], if sql { Op::SqlNot } else { Op::Not })?,
            ExprKind::Negate(inner) => self.all(span, [&**inner], if sql { Op::SqlNegate } else { Op::Negate })?,
            ExprKind::Logic(logic, operands) if sql => self.sql_logic(span, *logic, operands)?,
            ExprKind::Logic(logic, operands) => self.logic(span, *logic, operands)?,
            ExprKind::Compare(compare, left, right) => {
                let op = if sql { Op::SqlCompare(*compare) } else { Op::Compare(*compare) };
                self.all(span, [&**left, right], op)?;
            }
            ExprKind::Arithmetic(operator, left, right) => {
                let op = if sql { Op::SqlArithmetic(*operator) } else { Op::Arithmetic(*operator) };
                self.all(span, [&**left, right], op)?;
            }
            ExprKind::OneOf(left, elements) => self.one_of(span, left, elements)?,
            ExprKind::In(left, right) => match &right.kind {
                ExprKind::List(elements) if constants(elements).is_some() => self.one_of(span, left, elements)?,
                _ => self.all(span, [&**left, right], Op::In)?,
            },
            ExprKind::Like(text, pattern) => {
                self.code.likes.push(LikePattern::new(pattern));
                let pattern = index(self.code.likes.len() - 1);
                self.all(span, [&**text], Op::SqlLike(pattern))?;
            }
            ExprKind::Call(function, arguments) => {
                let count = index(arguments.len());
                let op = if sql { Op::SqlCall(*function, count) } else { Op::Call(*function, count) };
                self.all(span, arguments, op)?;
            }
            ExprKind::UnknownCall(..) => self.emit(span, Op::SqlUnknown),
            ExprKind::Matches(text, pattern) => self.matches(span, text, pattern)?,
            ExprKind::Conditional(condition, then, otherwise) => self.conditional(span, condition, then, otherwise)?,
            ExprKind::List(elements) => self.all(span, elements, Op::List(index(elements.len())))?,
            ExprKind::Map(entries) => {
                let parts = entries.iter().flat_map(|(key, value)| [key, value]);
                self.all(span, parts, Op::Map(index(entries.len())))?;
            }
            ExprKind::Quantified { quantifier, variable, over, predicate } => {
                self.quantified(span, *quantifier, *variable, over, predicate)?;
            }
        }
        Ok(())
    }

    fn all<'e>(&mut self, span: Span, operands: impl IntoIterator<Item = &'e Expr>, op: Op) -> Result<(), Unfit> {
        for operand in operands {
            self.expr(operand)?;
        }
        self.emit(span, op);
        Ok(())
    }

    fn read(&mut self, span: Span, place: &Place) {
        let op = match place {
            Place::Attribute(name) => Op::Attribute(self.text(name)),
            Place::Data(pointer) => Op::Data { pointer: self.pointer(pointer), strict: self.is_strict() },
        };
        self.emit(span, op);
    }

    fn exists(&mut self, span: Span, place: &Place) {
        let op = match place {
            Place::Attribute(name) => Op::AttributeExists(self.text(name)),
            Place::Data(pointer) => Op::DataExists { pointer: self.pointer(pointer), strict: self.is_strict() },
        };
        self.emit(span, op);
    }

    /// `data` follows RFC 6901; CEL tells names from numbers.
    fn is_strict(&self) -> bool {
        self.dialect == Dialect::Cel
    }

    fn sql_logic(&mut self, span: Span, logic: Logic, operands: &[Expr]) -> Result<(), Unfit> {
        let mut jumps = Vec::new();
        for (n, operand) in operands.iter().enumerate() {
            self.expr(operand)?;
            let last = n + 1 == operands.len();
            match logic {
                Logic::Xor if n > 0 => self.emit(span, Op::SqlXor),
                Logic::Xor => {}
                _ if last => self.emit(span, Op::SqlBool),
                Logic::And => jumps.push(self.emit_jump(operand.span, Op::SqlAndElse)),
                Logic::Or => jumps.push(self.emit_jump(operand.span, Op::SqlOrElse)),
            }
        }
        jumps.into_iter().for_each(|jump| self.land(jump));
        Ok(())
    }

    fn logic(&mut self, span: Span, logic: Logic, operands: &[Expr]) -> Result<(), Unfit> {
        let (jump, join): (fn(Index) -> Op, Op) = match logic {
            Logic::And => (Op::AndElse, Op::And),
            Logic::Or | Logic::Xor => (Op::OrElse, Op::Or),
        };
        let mut jumps = Vec::new();
        for (n, operand) in operands.iter().enumerate() {
            self.expr(operand)?;
            if n > 0 {
                self.emit(span, join);
            }
            if n + 1 < operands.len() {
                jumps.push(self.emit_jump(operand.span, jump));
            }
        }
        jumps.into_iter().for_each(|jump| self.land(jump));
        Ok(())
    }

    fn one_of(&mut self, span: Span, left: &Expr, elements: &[Expr]) -> Result<(), Unfit> {
        let sql = self.dialect == Dialect::Sql;
        self.expr(left)?;
        if let Some(constants) = constants(elements) {
            let first = index(self.code.constants.len());
            self.code.constants.extend(constants);
            let count = index(elements.len());
            self.emit(span, if sql { Op::SqlInConstants { first, count } } else { Op::InConstants { first, count } });
        } else if sql {
            let mut jumps = Vec::new();
            for element in elements {
                self.expr(element)?;
                jumps.push(self.emit_jump(element.span, Op::SqlInTest));
            }
            self.emit(span, Op::SqlInEnd);
            jumps.into_iter().for_each(|jump| self.land(jump));
        } else {
            self.all(span, elements, Op::List(index(elements.len())))?;
            self.emit(span, Op::In);
        }
        Ok(())
    }

    fn matches(&mut self, span: Span, text: &Expr, pattern: &str) -> Result<(), Unfit> {
        self.expr(text)?;
        let pattern = Regexp::new(pattern).map_err(|detail| Unfit::new(span.start as usize, detail))?;
        self.code.patterns.push(pattern);
        let pattern = index(self.code.patterns.len() - 1);
        self.emit(span, Op::Matches(pattern));
        Ok(())
    }

    fn conditional(&mut self, span: Span, condition: &Expr, then: &Expr, otherwise: &Expr) -> Result<(), Unfit> {
        self.expr(condition)?;
        let branch = self.emit_jump(condition.span, |_| Op::Branch { otherwise: 0, end: 0 });
        self.expr(then)?;
        let jump = self.emit_jump(span, Op::Jump);
        let start = self.here();
        self.expr(otherwise)?;
        self.code.ops[branch] = Op::Branch { otherwise: start, end: self.here() };
        self.land(jump);
        Ok(())
    }

    fn quantified(&mut self, span: Span, quantifier: Quantifier, variable: u16, over: &Expr, predicate: &Expr) -> Result<(), Unfit> {
        self.expr(over)?;
        let start = self.emit_jump(span, |_| Op::LoopStart { quantifier, variable, end: 0 });
        let body = self.here();
        self.expr(predicate)?;
        self.emit(span, Op::LoopNext { body });
        self.code.ops[start] = Op::LoopStart { quantifier, variable, end: self.here() };
        Ok(())
    }

    fn emit(&mut self, span: Span, op: Op) {
        self.code.ops.push(op);
        self.code.spans.push(span);
    }

    /// Emits a jump whose target is set later.
    fn emit_jump(&mut self, span: Span, op: impl FnOnce(Index) -> Op) -> usize {
        self.emit(span, op(0));
        self.code.ops.len() - 1
    }

    /// Lets the jump go to what comes next.
    fn land(&mut self, jump: usize) {
        let here = self.here();
        if let Op::SqlAndElse(to) | Op::SqlOrElse(to) | Op::AndElse(to) | Op::OrElse(to) | Op::Jump(to) | Op::SqlInTest(to) =
            &mut self.code.ops[jump]
        {
            *to = here;
        }
    }

    fn here(&self) -> Index {
        index(self.code.ops.len())
    }

    fn constant(&mut self, constant: &Constant) -> Index {
        self.code.constants.push(constant.clone());
        index(self.code.constants.len() - 1)
    }

    fn text(&mut self, text: &str) -> Index {
        place_of(&mut self.code.texts, |known| **known == *text, || text.into())
    }

    fn pointer(&mut self, pointer: &Pointer) -> Index {
        place_of(&mut self.code.pointers, |known| known == pointer, || pointer.clone())
    }
}

/// The elements, if all are constants.
fn constants(elements: &[Expr]) -> Option<Vec<Constant>> {
    let constant = |element: &Expr| match &element.kind {
        ExprKind::Literal(constant) => Some(constant.clone()),
        _ => None,
    };
    elements.iter().map(constant).collect()
}

fn place_of<T>(table: &mut Vec<T>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> Index {
    let place = table.iter().position(is_it).unwrap_or_else(|| {
        table.push(make());
        table.len() - 1
    });
    index(place)
}

/// Expressions have few parts, so places are small.
fn index(place: usize) -> Index {
    Index::try_from(place).expect("an expression has at most 256 parts")
}

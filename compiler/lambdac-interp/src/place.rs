//! Paths into values: what `a.f[i]` reads and what an assignment writes.
//!
//! A path's indexes are evaluated from left to right, each checked as soon as it is known; then the element that the
//! path names is read or written, and nothing else of the object. So `s[f()]` reads `s` after the call of `f`.

use lambdac_hir::{ConstId, Expr, ExprKind, LocalId, ParamId, Place, PlaceBase, Projection, StateId, Value};

use crate::interpreter::TrapCause;
use crate::state::Object;
use crate::stmt::{Exit, Frame, Machine};

/// Where a path starts.
#[derive(Clone, Debug)]
pub enum Root<'a> {
    /// A variable.
    Local(LocalId),
    /// A `state` value.
    State(StateId),
    /// A `const`.
    Const(ConstId),
    /// A `param`.
    Param(ParamId),
    /// A literal.
    Literal(&'a Value),
    /// What another expression gave.
    Computed(Value),
}

/// A root and the fields and elements to go through.
#[derive(Clone, Debug)]
pub struct Path<'a> {
    root: Root<'a>,
    steps: Vec<usize>,
}

/// What a path leads to: a value, or a byte of `bytes`.
pub enum Seen<'v> {
    /// A value.
    Value(&'v Value),
    /// A byte.
    Byte(u8),
}

impl Seen<'_> {
    /// A copy.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Value(value) => (*value).clone(),
            Self::Byte(byte) => Value::Int(u64::from(*byte)),
        }
    }

    /// Elements of an array, bytes of `bytes`.
    pub fn len(&self) -> usize {
        match self {
            Self::Value(Value::Array(values)) => values.len(),
            Self::Value(Value::Bytes(bytes)) => bytes.len(),
            Self::Value(_) | Self::Byte(_) => 0,
        }
    }
}

impl<'a> Machine<'a> {
    /// Evaluates the indexes of an expression's path, and the whole expression where it is no path.
    pub fn path(&mut self, frame: &mut Frame, expr: &'a Expr) -> Result<Path<'a>, Exit> {
        let root = match &expr.kind {
            ExprKind::Local(id) => Root::Local(*id),
            ExprKind::State(id) => Root::State(*id),
            ExprKind::Const(id) => Root::Const(*id),
            ExprKind::Param(id) => Root::Param(*id),
            ExprKind::Value(value) => Root::Literal(value),
            ExprKind::Widen(inner) => return self.path(frame, inner),
            ExprKind::Field(base, field) => {
                let mut path = self.path(frame, base)?;
                path.steps.push(*field as usize);
                return Ok(path);
            }
            ExprKind::Index(base, index) => {
                let mut path = self.path(frame, base)?;
                self.index(frame, &mut path, index, expr.span)?;
                return Ok(path);
            }
            _ => Root::Computed(self.expr(frame, expr)?),
        };
        Ok(Path {
            root,
            steps: Vec::new(),
        })
    }

    /// Evaluates the indexes of a place.
    pub fn place(&mut self, frame: &mut Frame, place: &'a Place) -> Result<Path<'a>, Exit> {
        let root = match place.base {
            PlaceBase::Local(id) => Root::Local(id),
            PlaceBase::State(id) => Root::State(id),
        };
        let mut path = Path {
            root,
            steps: Vec::new(),
        };
        for projection in &place.projections {
            match projection {
                Projection::Field(field) => path.steps.push(*field as usize),
                Projection::Index(index) => self.index(frame, &mut path, index, place.span)?,
            }
        }
        Ok(path)
    }

    fn index(
        &mut self,
        frame: &mut Frame,
        path: &mut Path<'a>,
        index: &'a Expr,
        span: lambdac_diag::Span,
    ) -> Result<(), Exit> {
        let index = self.expr(frame, index)?.as_int();
        let len = self.see(frame, path).map_or(0, |seen| seen.len());
        if index >= len as u64 {
            return Err(Exit::Trap(TrapCause::Index, span));
        }
        path.steps.push(index as usize);
        Ok(())
    }

    /// What a path leads to; none if it is no longer there, since a later index cleared the bytes.
    pub fn see<'v>(&'v self, frame: &'v Frame, path: &'v Path<'a>) -> Option<Seen<'v>> {
        let mut value = match &path.root {
            Root::Local(id) => &frame.locals[id.index()],
            Root::State(id) => match self.store.object(*id) {
                Object::Value(value) => value,
                Object::Counters(_) | Object::Lru(_) | Object::Map(_) => {
                    unreachable!("only state values have paths")
                }
            },
            Root::Const(id) => &self.workload.consts[id.index()].value,
            Root::Param(id) => &self.env.params[id.index()],
            Root::Literal(value) => value,
            Root::Computed(value) => value,
        };
        for &step in &path.steps {
            value = match value {
                Value::Array(values) | Value::Struct(values) => values.get(step)?,
                // A byte has no parts, so this step is the last.
                Value::Bytes(bytes) => return bytes.get(step).copied().map(Seen::Byte),
                _ => unreachable!("the checker lets paths into arrays, structs and bytes only"),
            };
        }
        Some(Seen::Value(value))
    }

    /// A copy of what a path leads to.
    pub fn load(&self, frame: &Frame, path: &Path<'a>) -> Option<Value> {
        self.see(frame, path).map(|seen| seen.to_value())
    }

    /// Changes what a path leads to; false if it is no longer there.
    pub fn store(&mut self, frame: &mut Frame, path: &Path<'a>, new: Value) -> bool {
        let Some((value, byte)) = self.see_mut(frame, path) else {
            return false;
        };
        match (value, byte) {
            (Value::Bytes(bytes), Some(at)) => bytes[at] = new.as_int() as u8,
            (value, _) => *value = new,
        }
        true
    }

    /// The value that a place leads to, or the `bytes` and the position in it.
    pub fn see_mut<'v>(
        &'v mut self,
        frame: &'v mut Frame,
        path: &Path<'a>,
    ) -> Option<(&'v mut Value, Option<usize>)> {
        let mut value = match &path.root {
            Root::Local(id) => &mut frame.locals[id.index()],
            Root::State(id) => match self.store.object_mut(*id) {
                Object::Value(value) => value,
                Object::Counters(_) | Object::Lru(_) | Object::Map(_) => {
                    unreachable!("only state values have paths")
                }
            },
            Root::Const(_) | Root::Param(_) | Root::Literal(_) | Root::Computed(_) => {
                unreachable!("a place starts at a local or at state")
            }
        };
        for &step in &path.steps {
            value = match value {
                Value::Array(values) | Value::Struct(values) => values.get_mut(step)?,
                Value::Bytes(bytes) => {
                    let there = step < bytes.len();
                    return there.then_some((value, Some(step)));
                }
                _ => unreachable!("the checker lets paths into arrays, structs and bytes only"),
            };
        }
        Some((value, None))
    }
}

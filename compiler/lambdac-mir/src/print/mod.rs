//! The text form, out: `lang-spec/mir.md` describes it, [`crate::parse`] reads it back.
//!
//! The text is a function of the module alone and holds all of it. A value's width stands where it is defined; values
//! that nothing defines any more are listed at the head of their body, so that numbers stay what they are.

mod body;
mod item;
mod text;

use std::fmt::{self, Display, Formatter};

use crate::{Body, Func, FuncParam, Lambda, Module, Op, Region, Value};

/// The text of several modules, one after the other; [`crate::parse_image`] reads it.
pub fn print_image(modules: &[Module]) -> String {
    let texts: Vec<String> = modules.iter().map(Module::to_string).collect();
    texts.join("\n")
}

/// The text of a function, as it stands in its module.
pub fn print_func(func: &Func) -> String {
    let mut printer = Printer::default();
    printer.func("func", func);
    printer.out
}

/// The text of a lambda, as it stands in its module.
pub fn print_lambda(lambda: &Lambda) -> String {
    let mut printer = Printer::default();
    printer.lambda("lambda", lambda);
    printer.out
}

/// The text of a region's statements and its end. Values whose width the body does not know print as `i?`.
pub fn print_region(body: &Body, region: &Region) -> String {
    let mut printer = Printer {
        widths: body.values.clone(),
        ..Printer::default()
    };
    printer.region_lines(region);
    printer.out
}

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut printer = Printer::default();
        printer.module(self);
        f.write_str(&printer.out)
    }
}

/// Text under way.
#[derive(Default)]
struct Printer {
    out: String,
    indent: usize,
    /// Widths of the values of the body that is being printed.
    widths: Vec<u8>,
}

impl Printer {
    /// Starts a line.
    fn start(&mut self) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
    }

    /// Writes a whole line.
    fn line(&mut self, text: impl Display) {
        self.start();
        self.put(text);
        self.out.push('\n');
    }

    /// Writes into the line under way.
    fn put(&mut self, text: impl Display) {
        use fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{text}");
    }

    /// Writes things with a separator between them.
    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut one: impl FnMut(&mut Self, T)) {
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            one(self, item);
        }
    }

    /// A value with its width, as it stands where it is defined.
    fn def(&mut self, value: Value) {
        match self.widths.get(value.index()).copied() {
            Some(width) => self.put(format_args!("{value}: i{width}")),
            None => self.put(format_args!("{value}: i?")),
        }
    }
}

/// Values of a body that no parameter and no statement defines, in order.
fn never_defined<'a>(
    body: &Body,
    params: impl Iterator<Item = Value>,
    regions: impl Iterator<Item = &'a Region>,
) -> Vec<Value> {
    let mut defined = vec![false; body.values.len()];
    let mut mark = |value: Value| {
        if let Some(slot) = defined.get_mut(value.index()) {
            *slot = true;
        }
    };
    params.for_each(&mut mark);
    for region in regions {
        region.walk(&mut |stmt| {
            stmt.results.iter().copied().for_each(&mut mark);
            Op::for_each_inner_def(&stmt.op, &mut mark);
        });
    }
    (0..body.values.len() as u32)
        .map(Value)
        .filter(|value| !defined[value.index()])
        .collect()
}

/// The scalar parameters of a function.
fn scalar_params(params: &[FuncParam]) -> impl Iterator<Item = Value> {
    params.iter().filter_map(|param| match param {
        FuncParam::Scalar(value) => Some(*value),
        _ => None,
    })
}

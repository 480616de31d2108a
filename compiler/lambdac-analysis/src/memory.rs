//! How many bytes the variables of a lambda take, with those of the fns that it calls.

use lambdac_diag::{Diagnostic, Sink};
use lambdac_hir::{Body, Expr, ExprKind, Lambda, Type, Workload};

use crate::grouped;
use crate::walk::{Visitor, visit_block};

/// The most bytes of variables of a lambda and the fns it calls, at one time.
pub const MAX_LOCALS_BYTES: u64 = 16 << 20;

/// The bytes of each lambda, after reporting those that take too many.
pub fn check(workload: &Workload, sink: &mut Sink) -> Vec<u64> {
    let mut fns = Vec::new();
    for function in &workload.fns {
        fns.push(body_bytes(workload, &fns, &function.body));
    }
    let lambdas = workload.lambdas.iter().map(|lambda| {
        let bytes = body_bytes(workload, &fns, &lambda.body);
        if bytes > MAX_LOCALS_BYTES {
            sink.push(too_large(workload, lambda, bytes));
        }
        bytes
    });
    lambdas.collect()
}

fn too_large(workload: &Workload, lambda: &Lambda, bytes: u64) -> Diagnostic {
    let message = format!(
        "the variables of `{}` take {} bytes, more than {}",
        lambda.name,
        grouped(bytes),
        grouped(MAX_LOCALS_BYTES)
    );
    let largest = lambda
        .body
        .locals
        .iter()
        .max_by_key(|local| type_bytes(workload, &local.ty));
    let mut diagnostic = Diagnostic::error("E0551", message, lambda.span, "too much for one invocation")
        .with_help("use fewer large variables, or smaller ones");
    if let Some(local) = largest {
        let bytes = grouped(type_bytes(workload, &local.ty));
        diagnostic = diagnostic.with_label(local.span, format!("{bytes} bytes of them here"));
    }
    diagnostic
}

/// The body's own variables, and the most that one of its calls needs.
fn body_bytes(workload: &Workload, fns: &[u64], body: &Body) -> u64 {
    let own = body.locals.iter().fold(0u64, |sum, local| {
        sum.saturating_add(type_bytes(workload, &local.ty))
    });
    let mut calls = Calls { fns, most: 0 };
    visit_block(&mut calls, &body.block);
    own.saturating_add(calls.most)
}

struct Calls<'f> {
    fns: &'f [u64],
    most: u64,
}

impl<'a> Visitor<'a> for Calls<'_> {
    fn expr(&mut self, expr: &'a Expr) {
        if let ExprKind::Call(id, _) = &expr.kind {
            self.most = self.most.max(self.fns.get(id.index()).copied().unwrap_or(0));
        }
    }
}

/// Bytes of a value in memory: scalars in the smallest power of two, `bytes<n>` with its length.
pub fn type_bytes(workload: &Workload, ty: &Type) -> u64 {
    match ty {
        Type::Bool | Type::Int(_) | Type::Enum(_) => {
            let bits = workload.scalar_int(ty).map_or(0, |int| u64::from(int.bits));
            bits.div_ceil(8).next_power_of_two()
        }
        Type::Array(elem, n) => type_bytes(workload, elem).saturating_mul(u64::from(*n)),
        Type::Bytes(n) => 4 + u64::from(*n),
        Type::BytesView => 16,
        Type::Struct(id) => {
            let fields = workload.strukt(*id).fields.iter();
            fields.fold(0, |sum, field| sum + type_bytes(workload, &field.ty))
        }
        Type::Option(inner) => 1 + type_bytes(workload, inner),
        Type::Unit | Type::Never => 0,
    }
}

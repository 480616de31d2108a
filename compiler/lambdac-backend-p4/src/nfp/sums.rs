//! IPv4's checksum, in sums of 32 bits: the card's tools have no extern for it.

use crate::ast::{Binary, Expr, Stmt, Type};

/// The metadata that sums are made in.
const SUM: &str = "meta.sum";
/// What a header sums up to, its checksum with it, if it is right (RFC 1071).
pub(super) const RIGHT: u64 = 0xffff;

fn low() -> Expr {
    Expr::bits(32, 0xffff)
}

fn wide(field: Expr) -> Expr {
    field.cast(Type::Bit(32))
}

fn plus(a: Expr, b: Expr) -> Expr {
    a.binary(Binary::Add, b)
}

fn set(value: Expr) -> Stmt {
    Stmt::Assign(Expr::path(SUM), value)
}

/// The carries back in, twice: twelve numbers of 16 bits carry at most 11.
fn folded() -> [Stmt; 2] {
    let once = || {
        let sum = Expr::path(SUM);
        let (kept, carried) = (
            sum.clone().binary(Binary::And, low()),
            sum.binary(Binary::Shr, Expr::Number(16)),
        );
        set(plus(kept, carried))
    };
    [once(), once()]
}

/// Sums up the header.
pub(super) fn of_header() -> Vec<Stmt> {
    let field = |name: &str| wide(Expr::path("hdr.ipv4").member(name));
    let shifted = |name: &str| field(name).binary(Binary::Shl, Expr::Number(8));
    let halves = |name: &str| {
        let whole = Expr::path("hdr.ipv4").member(name);
        [
            whole.clone().binary(Binary::Shr, Expr::Number(16)),
            whole.binary(Binary::And, low()),
        ]
    };
    let mut terms = vec![
        shifted("version_ihl"),
        field("tos"),
        field("len"),
        field("id"),
        field("fragment"),
        shifted("ttl"),
        field("protocol"),
        field("sum"),
    ];
    terms.extend(halves("src"));
    terms.extend(halves("dst"));
    let sum = terms.into_iter().reduce(plus).map(set);
    sum.into_iter().chain(folded()).collect()
}

//! Arithmetic on integers of 1 to 64 bits.
//!
//! A value is held as its low bits, zero-extended, for signed types too; every result is cut to its width again.
//! Division by zero, the remainder by zero and shifts past the width follow RFC 9669, section 4.1, and never trap.

use std::cmp::Ordering;

use lambdac_hir::{BinOp, IntType};

/// The low bits of a result that the type keeps.
pub fn wrap(int: IntType, value: u64) -> u64 {
    value & int.mask()
}

/// The value as 64 bits: sign-extended for a signed type.
pub fn extend(int: IntType, value: u64) -> u64 {
    if int.signed {
        let unused = 64 - u32::from(int.bits);
        ((value << unused) as i64 >> unused) as u64
    } else {
        value
    }
}

/// Order of two values of one type.
pub fn compare(int: IntType, a: u64, b: u64) -> Ordering {
    if int.signed {
        (extend(int, a) as i64).cmp(&(extend(int, b) as i64))
    } else {
        a.cmp(&b)
    }
}

/// `a op b` for the operators whose result has the operands' type; `int` is the left side's type.
///
/// # Panics
/// For comparisons, which give a bool.
pub fn binary(int: IntType, op: BinOp, a: u64, b: u64) -> u64 {
    let result = match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => a.wrapping_mul(b),
        BinOp::Div => divide(int, a, b),
        BinOp::Rem => remainder(int, a, b),
        BinOp::And => a & b,
        BinOp::Or => a | b,
        BinOp::Xor => a ^ b,
        BinOp::Shl => shift_left(int, a, b),
        BinOp::Shr => shift_right(int, a, b),
        BinOp::Eq | BinOp::Ne | BinOp::Lt | BinOp::Le | BinOp::Gt | BinOp::Ge => {
            unreachable!("comparisons give a bool")
        }
    };
    wrap(int, result)
}

/// `x / 0 == 0`; signed division truncates and `MIN / -1 == MIN`.
fn divide(int: IntType, a: u64, b: u64) -> u64 {
    if b == 0 {
        0
    } else if int.signed {
        (extend(int, a) as i64).wrapping_div(extend(int, b) as i64) as u64
    } else {
        a / b
    }
}

/// `x % 0 == x`; a signed remainder has the dividend's sign and `MIN % -1 == 0`.
fn remainder(int: IntType, a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else if int.signed {
        (extend(int, a) as i64).wrapping_rem(extend(int, b) as i64) as u64
    } else {
        a % b
    }
}

/// Shifted by the width or more: 0.
fn shift_left(int: IntType, a: u64, by: u64) -> u64 {
    if by >= u64::from(int.bits) { 0 } else { a << by }
}

/// Shifted by the width or more: 0, or the sign fill of a signed type.
fn shift_right(int: IntType, a: u64, by: u64) -> u64 {
    let past = by >= u64::from(int.bits);
    if int.signed {
        (extend(int, a) as i64 >> if past { 63 } else { by }) as u64
    } else if past {
        0
    } else {
        a >> by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(bits: u8) -> IntType {
        IntType { bits, signed: true }
    }

    #[test]
    fn results_wrap_at_the_width() {
        assert_eq!(binary(IntType::unsigned(3), BinOp::Add, 7, 2), 1);
        assert_eq!(binary(IntType::unsigned(7), BinOp::Sub, 0, 1), 0x7f);
        assert_eq!(
            binary(IntType::unsigned(64), BinOp::Mul, u64::MAX, 2),
            u64::MAX - 1
        );
        assert_eq!(binary(signed(8), BinOp::Add, 0x7f, 1), 0x80);
    }

    #[test]
    fn division_never_traps() {
        assert_eq!(binary(IntType::U32, BinOp::Div, 9, 0), 0);
        assert_eq!(binary(IntType::U32, BinOp::Rem, 9, 0), 9);
        assert_eq!(binary(signed(8), BinOp::Rem, 0xf7, 0), 0xf7);
        assert_eq!(binary(signed(8), BinOp::Div, 0x80, 0xff), 0x80);
        assert_eq!(binary(signed(8), BinOp::Rem, 0x80, 0xff), 0);
        let min = i64::MIN as u64;
        assert_eq!(binary(signed(64), BinOp::Div, min, u64::MAX), min);
        assert_eq!(binary(signed(64), BinOp::Rem, min, u64::MAX), 0);
    }

    #[test]
    fn signed_division_truncates_and_the_remainder_has_the_dividends_sign() {
        let minus = |v: u64| wrap(signed(8), 0u64.wrapping_sub(v));
        assert_eq!(binary(signed(8), BinOp::Div, minus(7), 2), minus(3));
        assert_eq!(binary(signed(8), BinOp::Rem, minus(7), 2), minus(1));
        assert_eq!(binary(signed(8), BinOp::Rem, 7, minus(2)), 1);
    }

    #[test]
    fn shifts_by_the_width_or_more_leave_nothing_but_the_sign() {
        let u5 = IntType::unsigned(5);
        assert_eq!(binary(u5, BinOp::Shl, 1, 4), 16);
        assert_eq!(binary(u5, BinOp::Shl, 1, 5), 0);
        assert_eq!(binary(u5, BinOp::Shr, 16, 5), 0);
        assert_eq!(binary(IntType::U64, BinOp::Shr, u64::MAX, 64), 0);
        assert_eq!(binary(signed(8), BinOp::Shr, 0x80, 1), 0xc0);
        assert_eq!(binary(signed(8), BinOp::Shr, 0x80, u64::MAX), 0xff);
        assert_eq!(binary(signed(8), BinOp::Shr, 0x7f, 8), 0);
        assert_eq!(binary(signed(8), BinOp::Shl, 0xff, 8), 0);
    }

    #[test]
    fn order_follows_the_sign() {
        assert_eq!(compare(signed(8), 0xff, 1), Ordering::Less);
        assert_eq!(compare(IntType::U8, 0xff, 1), Ordering::Greater);
    }
}

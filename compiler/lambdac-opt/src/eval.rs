//! Values of scalar operations on constants, held zero-extended, by the meaning that `lambdac-mir` gives them.

use lambdac_mir::{BinOp, CastOp, CmpOp, mask, sign_extend};

/// The result of a binary operation; both operands have `width`, a shift's right side may have any.
pub(crate) fn bin(op: BinOp, a: u64, b: u64, width: u8) -> u64 {
    let (sa, sb) = (sign_extend(a, width), sign_extend(b, width));
    let bits = u64::from(width);
    let raw = match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => a.wrapping_mul(b),
        BinOp::UDiv => a.checked_div(b).unwrap_or(0),
        BinOp::SDiv if b == 0 => 0,
        BinOp::SDiv => sa.wrapping_div(sb) as u64,
        BinOp::URem => a.checked_rem(b).unwrap_or(a),
        BinOp::SRem if b == 0 => a,
        BinOp::SRem => sa.wrapping_rem(sb) as u64,
        BinOp::And => a & b,
        BinOp::Or => a | b,
        BinOp::Xor => a ^ b,
        BinOp::Shl if b >= bits => 0,
        BinOp::Shl => a << b,
        BinOp::LShr if b >= bits => 0,
        BinOp::LShr => a >> b,
        BinOp::AShr => (sa >> b.min(63)) as u64,
        BinOp::UMin => a.min(b),
        BinOp::UMax => a.max(b),
        BinOp::SMin => sa.min(sb) as u64,
        BinOp::SMax => sa.max(sb) as u64,
    };
    raw & mask(width)
}

/// The result of a comparison of two values of `width`.
pub(crate) fn cmp(op: CmpOp, a: u64, b: u64, width: u8) -> bool {
    match op {
        CmpOp::Eq => a == b,
        CmpOp::Ne => a != b,
        CmpOp::Ult => a < b,
        CmpOp::Ule => a <= b,
        CmpOp::Slt => sign_extend(a, width) < sign_extend(b, width),
        CmpOp::Sle => sign_extend(a, width) <= sign_extend(b, width),
    }
}

/// The result of a width change.
pub(crate) fn cast(op: CastOp, a: u64, from: u8, to: u8) -> u64 {
    match op {
        CastOp::ZExt | CastOp::Trunc => a & mask(to),
        CastOp::SExt => sign_extend(a, from) as u64 & mask(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_is_total() {
        assert_eq!(bin(BinOp::UDiv, 7, 0, 8), 0);
        assert_eq!(bin(BinOp::URem, 7, 0, 8), 7);
        assert_eq!(bin(BinOp::SDiv, 0x80, 0xff, 8), 0x80); // MIN / -1 is MIN
        assert_eq!(bin(BinOp::SRem, 0x80, 0xff, 8), 0);
        assert_eq!(bin(BinOp::SDiv, 1 << 63, u64::MAX, 64), 1 << 63);
        assert_eq!(bin(BinOp::SDiv, 0xf9, 2, 8), 0xfd); // -7 / 2 is -3
        assert_eq!(bin(BinOp::SRem, 0xf9, 2, 8), 0xff); // -7 % 2 is -1
    }

    #[test]
    fn a_shift_past_the_width_gives_zero_or_the_sign_fill() {
        assert_eq!(bin(BinOp::Shl, 1, 5, 5), 0);
        assert_eq!(bin(BinOp::LShr, 31, 64, 5), 0);
        assert_eq!(bin(BinOp::AShr, 0x10, 200, 5), 31);
        assert_eq!(bin(BinOp::AShr, 0x0f, 200, 5), 0);
        assert_eq!(bin(BinOp::Shl, 3, 4, 5), 0x10);
    }

    #[test]
    fn odd_widths_compare_and_extend_by_their_own_sign_bit() {
        assert!(cmp(CmpOp::Slt, 0x10, 0x0f, 5));
        assert!(!cmp(CmpOp::Ult, 0x10, 0x0f, 5));
        assert_eq!(cast(CastOp::SExt, 0x10, 5, 8), 0xf0);
        assert_eq!(cast(CastOp::ZExt, 0x10, 5, 8), 0x10);
        assert_eq!(cast(CastOp::Trunc, 0x1ff, 9, 8), 0xff);
    }
}

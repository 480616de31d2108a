//! A bundle as a tar that nobody vouches for.

use lnic_bundle::{Limits, from_tar, to_tar};

use super::bundle;
use super::dice::Dice;
use super::mutate;

/// Limits so small that mutations meet them: the sample has a third of the bytes and half of the files.
pub const LIMITS: Limits = Limits {
    bytes: 16 << 10,
    files: 8,
};

/// Bytes of a block: a header, or a part of a file.
const BLOCK: usize = 512;
/// Where a header has its checksum (POSIX ustar), which counts as blanks while it is made.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// How far a tar came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is no tar of plain files within the limits.
    Refused,
    /// Its files are not a bundle.
    Files,
    /// It is a bundle.
    Bundle,
}

/// Reads bytes as the tar of a bundle.
///
/// # Panics
/// Where more is taken than the limits allow, a refusal has no words, or what is taken is not whole.
pub fn run(bytes: &[u8]) -> Outcome {
    let files = match from_tar(bytes, LIMITS) {
        Ok(files) => files,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Outcome::Refused;
        }
    };
    let taken: usize = files.values().map(Vec::len).sum();
    assert!(
        taken as u64 <= LIMITS.bytes && files.len() <= LIMITS.files,
        "over the limits"
    );
    assert!(taken <= bytes.len(), "bytes out of nothing");
    match bundle::run(files) {
        true => Outcome::Bundle,
        false => Outcome::Files,
    }
}

/// The tar of [`bundle::sample`].
pub fn sample() -> Vec<u8> {
    to_tar(&bundle::sample()).expect("names are short")
}

/// A mutated tar: fields of its headers, whole blocks, or any bytes; mostly with checksums that are right.
pub fn mutated(dice: &mut Dice) -> Vec<u8> {
    let mut tar = sample();
    for _ in 0..=dice.below(3) {
        match dice.below(10) {
            0..6 => field(dice, &mut tar),
            6 | 7 => block(dice, &mut tar),
            8 => tar.truncate(dice.below(tar.len() + 1)),
            _ => mutate::bytes(dice, &mut tar),
        }
    }
    if dice.chance(80) {
        correct_checksums(&mut tar);
    }
    tar
}

/// Starts of blocks that are headers, by their magic.
fn headers(tar: &[u8]) -> Vec<usize> {
    let starts = (0..tar.len() / BLOCK).map(|block| block * BLOCK);
    starts
        .filter(|at| tar[at + 257..].starts_with(b"ustar"))
        .collect()
}

/// Names of files, some of which stand in the sample already.
const NAMES: &[&[u8]] = &[
    b"manifest.json\0",
    b"./manifest.json\0",
    b"../../etc/passwd\0",
    b"/host/image.o\0",
    b"\0",
    b"\xff\xfe\0",
    b"workloads/kv.mir\0",
];
/// Sizes in octal, and in binary behind a set first bit (GNU).
const SIZES: &[&[u8]] = &[
    b"00000000000\0",
    b"00000000001\0",
    b"00000000777\0",
    b"77777777777\0",
    b"-0000000001\0",
    b"not a number",
    b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
];
/// Types of entries, and one that there is none of.
const TYPES: &[u8] = b"0\x00123567LKSVxg?";

/// Puts something in a header's field that a writer of tars would not.
fn field(dice: &mut Dice, tar: &mut [u8]) {
    const SIZE: usize = 124;
    const TYPE: usize = 156;
    let headers = headers(tar);
    if headers.is_empty() {
        return;
    }
    let header = *dice.pick(&headers);
    let mut put = |at: usize, text: &[u8]| {
        tar[header + at..header + at + text.len()].copy_from_slice(text);
    };
    match dice.below(4) {
        0 => {
            let name: &[u8] = dice.pick::<&[u8]>(NAMES);
            put(0, name);
        }
        1 => {
            let size: &[u8] = dice.pick::<&[u8]>(SIZES);
            put(SIZE, size);
        }
        2 => put(TYPE, &[*dice.pick(TYPES)]),
        _ => put(dice.below(BLOCK), &[dice.roll() as u8]),
    }
}

/// Doubles, moves, deletes or empties a block.
fn block(dice: &mut Dice, tar: &mut Vec<u8>) {
    let blocks = tar.len() / BLOCK;
    if blocks == 0 {
        return;
    }
    let from = dice.below(blocks) * BLOCK;
    let to = dice.below(blocks) * BLOCK;
    let copy = tar[from..from + BLOCK].to_vec();
    match dice.below(4) {
        0 => drop(tar.splice(to..to, copy)),
        1 => drop(tar.splice(to..to + BLOCK, copy)),
        2 => drop(tar.drain(from..from + BLOCK)),
        _ => tar[from..from + BLOCK].fill(0),
    }
}

/// Makes every header's checksum right, so that what else is wrong with it is seen.
pub fn correct_checksums(tar: &mut [u8]) {
    for at in headers(tar) {
        let header = &mut tar[at..at + BLOCK];
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

//! Sizes of an object's sections, read from its ELF headers (64 bits, little-endian: what gcc and clang make here).

/// Where the header says where sections are described, how large a description is, how many there are, and which holds
/// the names (System V ABI, gABI 4.1, chapter 4).
const SHOFF: usize = 0x28;
const SHENTSIZE: usize = 0x3a;
const SHNUM: usize = 0x3c;
const SHSTRNDX: usize = 0x3e;
/// In a description: the name's offset, the contents' offset and size.
const NAME: usize = 0;
const OFFSET: usize = 0x18;
const SIZE: usize = 0x20;

/// Bytes of code and of constants in an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// `.text` and its like.
    pub text: u64,
    /// `.rodata` and its like.
    pub rodata: u64,
}

impl Sizes {
    /// Both together.
    pub fn total(self) -> u64 {
        self.text + self.rodata
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let raw = bytes.get(at..at.checked_add(size)?)?;
    let mut whole = [0; 8];
    whole[..size].copy_from_slice(raw);
    Some(u64::from_le_bytes(whole))
}

/// The sizes of an object's sections; `None` where it is none of those.
pub(crate) fn sizes(object: &[u8]) -> Option<Sizes> {
    if object.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = number(object, SHOFF, 8)? as usize;
    let stride = number(object, SHENTSIZE, 2)? as usize;
    let count = number(object, SHNUM, 2)? as usize;
    let section = |index: usize| table.checked_add(index.checked_mul(stride)?);
    let names = number(
        object,
        section(number(object, SHSTRNDX, 2)? as usize)? + OFFSET,
        8,
    )? as usize;
    let mut sizes = Sizes::default();
    for index in 0..count {
        let at = section(index)?;
        let name = names.checked_add(number(object, at + NAME, 4)? as usize)?;
        let size = number(object, at + SIZE, 8)?;
        let name = object.get(name..)?;
        if name.starts_with(b".text") {
            sizes.text += size;
        } else if name.starts_with(b".rodata") {
            sizes.rodata += size;
        }
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::sizes;

    #[test]
    fn what_is_no_object_has_no_sizes() {
        assert_eq!(sizes(b""), None);
        assert_eq!(sizes(b"\x7fELF\x02\x01"), None);
        let mut wild = vec![0xff; 64];
        wild[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(sizes(&wild), None);
    }
}

//! Memory of atomic words: zeroed, 8-aligned, only touched pages take space.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A fixed number of atomic words.
pub(crate) struct Words(Box<[AtomicU64]>);

impl Words {
    /// Zeroed words.
    pub(crate) fn zeroed(count: usize) -> Self {
        // The allocator gets zeroed pages from the kernel and does not touch them.
        let words: Box<[u64]> = vec![0u64; count].into_boxed_slice();
        let raw = Box::into_raw(words) as *mut [AtomicU64];
        // SAFETY: an atomic word has the size, alignment and bits of a plain one, and the box is ours.
        Self(unsafe { Box::from_raw(raw) })
    }

    /// Zeroed words for so many bytes.
    pub(crate) fn for_bytes(bytes: usize) -> Self {
        Self::zeroed(bytes.div_ceil(8).max(1))
    }

    /// The first byte. All access through it must be atomic where others may have access at the same time.
    pub(crate) fn base(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }

    /// Copies bytes in, word by word.
    pub(crate) fn fill(&self, bytes: &[u8]) {
        for (word, chunk) in self.0.iter().zip(bytes.chunks(8)) {
            word.store(load_word(chunk, 0), Relaxed);
        }
    }

    /// Copies bytes out, word by word.
    pub(crate) fn bytes(&self, len: usize) -> Vec<u8> {
        let mut out: Vec<u8> = self
            .0
            .iter()
            .flat_map(|word| word.load(Relaxed).to_ne_bytes())
            .collect();
        out.truncate(len);
        out
    }
}

impl std::ops::Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}

/// Eight bytes from `at`; those past the end are 0.
pub(crate) fn load_word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8) {
        Some(word) => u64::from_ne_bytes(word.try_into().unwrap_or_default()),
        None => {
            let mut word = [0; 8];
            let tail = bytes.get(at..).unwrap_or_default();
            word[..tail.len()].copy_from_slice(tail);
            u64::from_ne_bytes(word)
        }
    }
}

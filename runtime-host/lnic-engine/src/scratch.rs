//! What invocations on one thread use again and again.

use crate::invoke::Saved;
use crate::log::LogSink;
use crate::words::Words;

/// Waiting invocations whose memory a thread keeps for the next ones.
const POOLED: usize = 1024;
/// The largest memory of a waiting invocation that is kept.
const POOLED_BYTES: usize = 16 << 10;
/// Room for the request of a waiting invocation from the start: the payload of one packet of the λ wire.
const REQUEST_BYTES: usize = 1344;

/// Memory for the invocations of one thread: arena, save area, state of `random()`, log. It grows to what the
/// workloads that it runs need, and then nothing is allocated any more.
pub struct Scratch {
    pub(crate) arena: Words,
    pub(crate) save: Words,
    pub(crate) bounce: Vec<u8>,
    /// Boxed, because a continuation holds one and moves.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is kept")]
    pub(crate) pool: Vec<Box<Saved>>,
    pub(crate) random_state: u64,
    pub(crate) log: Option<Box<dyn LogSink>>,
    pub(crate) line: String,
}

impl Scratch {
    /// A new one whose `random()` starts from a state: different per thread, or fixed for a test.
    pub fn new(seed: u64) -> Self {
        Self {
            arena: Words::zeroed(0),
            save: Words::zeroed(0),
            bounce: Vec::new(),
            pool: Vec::new(),
            random_state: seed,
            log: None,
            line: String::with_capacity(crate::log::MAX_LINE + 32),
        }
    }

    /// Starts `random()` from a state.
    pub fn seed(&mut self, state: u64) {
        self.random_state = state;
    }

    /// The state that the next `random()` starts from.
    pub fn dice(&self) -> u64 {
        self.random_state
    }

    /// Where log lines go; nowhere until this is called.
    pub fn set_log(&mut self, sink: Box<dyn LogSink>) {
        self.log = Some(sink);
    }

    /// Makes room for an entry.
    pub(crate) fn reserve(&mut self, needs: lambdac_backend_host::EntryNeeds) {
        // One word more than needed, so that the bases can be 16-aligned.
        let words = |bytes: u64| (bytes as usize).div_ceil(8) + 2;
        if needs.arena_bytes > 0 && self.arena.len() < words(needs.arena_bytes) {
            self.arena = Words::zeroed(words(needs.arena_bytes));
        }
        if needs.save_bytes > 0 && self.save.len() < words(needs.save_bytes) {
            self.save = Words::zeroed(words(needs.save_bytes));
        }
    }

    /// Memory for a waiting invocation, empty. It has room for what any lambda that has run here keeps live and for a
    /// request of one packet, so that memory which one lambda has left serves another without growing.
    pub(crate) fn take_saved(&mut self) -> Box<Saved> {
        let mut saved = self.pool.pop().unwrap_or_default();
        saved.clear(self.save.len() * size_of::<u64>(), REQUEST_BYTES);
        saved
    }

    pub(crate) fn keep_saved(&mut self, saved: Box<Saved>) {
        if self.pool.len() < POOLED && saved.capacity() <= POOLED_BYTES {
            self.pool.push(saved);
        }
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch")
            .field("pooled", &self.pool.len())
            .finish_non_exhaustive()
    }
}

/// The first 16-aligned byte of memory from [`Scratch::reserve`].
pub(crate) fn aligned(words: &Words) -> *mut u8 {
    let base = words.base();
    base.wrapping_add(base.align_offset(16) % 16)
}

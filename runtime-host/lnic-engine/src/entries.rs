//! `map` and `lru`: a hash table of fixed capacity for many threads.
//!
//! **Shape.** Nodes lie in one slab (a header, the key, the value, in atomic words) and are chained by hash bucket. Free
//! nodes form a stack; nodes that were never used are taken in order, so creating a large object touches no memory.
//!
//! **Locking.** A bucket is one word: a version and the first node. A writer makes the version odd, changes the chain and
//! its nodes, and makes it even. A reader of a small value copies it and then looks whether the version is still the
//! same (a sequence lock); of a large one it takes the bucket as a writer does. A lock is held for one copy, and never
//! two at once. A thread sees a node of another bucket only when a version has changed, so a value is never taken from
//! another key's entry.
//!
//! **map** is exact: a new key needs a free node, and `insert` is false when there is none.
//!
//! **lru** takes a node away from another key when none is free. Up to [`EXACT_LRU`] entries that is exactly the least
//! recently used one, found by going through all; above, the clock algorithm finds one that was not used since the
//! hand last passed. Keys hash with a seed of their own per object, so nobody can aim at a bucket.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use crate::words::{Words, load_word};

/// The largest `lru` that forgets exactly the least recently used entry.
pub(crate) const EXACT_LRU: u32 = 128;
/// The largest value that is read without taking its bucket.
const OPTIMISTIC_BYTES: usize = 64;
/// Words before a node's key: next, hash, last use, time of the last put.
const HEADER: usize = 4;
/// Use stamps of the clock algorithm: there, and used since the hand passed.
const LIVE: u64 = 1;
const USED: u64 = 2;
const VERSION: u64 = 1 << 32;

/// How an object forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Never.
    Map,
    /// When full, and after so many nanoseconds.
    Lru { ttl: Option<u64> },
}

/// Sizes of an object's entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) key: usize,
    pub(crate) value: usize,
    /// The value is a byte string: only its current length is copied.
    pub(crate) bytes: bool,
    /// Bits of an integer value.
    pub(crate) mask: u64,
    pub(crate) capacity: u32,
}

/// A value as it comes: whole in its layout, or a byte string without its length before it.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Whole(&'a [u8]),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// Word `index` of the value in its layout.
    fn word(self, index: usize) -> u64 {
        match self {
            Self::Whole(bytes) => load_word(bytes, index * 8),
            Self::Bytes(bytes) if index == 0 => bytes.len() as u64 & 0xffff_ffff | load_half(bytes) << 32,
            Self::Bytes(bytes) => load_word(bytes, index * 8 - 4),
        }
    }

    fn words(self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len().div_ceil(8),
            Self::Bytes(bytes) => (bytes.len() + 4).div_ceil(8),
        }
    }
}

/// The first four bytes.
fn load_half(bytes: &[u8]) -> u64 {
    load_word(&bytes[..bytes.len().min(4)], 0)
}

/// The entries of a `map` or `lru`.
pub(crate) struct Entries {
    policy: Policy,
    sizes: Sizes,
    key_words: usize,
    node_words: usize,
    /// Version in the high half, first node plus 1 in the low half.
    buckets: Words,
    nodes: Words,
    /// Nodes that were never used start here.
    fresh: AtomicU32,
    /// Top of the free nodes plus 1, with a count of changes in the high half.
    free: AtomicU64,
    clock: AtomicU64,
    hand: AtomicU32,
    seed: u64,
}

/// A bucket that is held.
struct Held<'e> {
    bucket: &'e AtomicU64,
    /// Its word before.
    word: u64,
    head: u32,
}

impl Held<'_> {
    fn release(self) {
        let version = (self.word & !0xffff_ffff).wrapping_add(2 * VERSION);
        self.bucket.store(version | u64::from(self.head), Release);
    }
}

impl Entries {
    pub(crate) fn new(policy: Policy, sizes: Sizes) -> Self {
        let key_words = sizes.key.div_ceil(8);
        let node_words = HEADER + key_words + sizes.value.div_ceil(8);
        let buckets = (sizes.capacity.max(1) as usize).next_power_of_two();
        Self {
            policy,
            sizes,
            key_words,
            node_words,
            buckets: Words::zeroed(buckets),
            nodes: Words::zeroed(node_words * sizes.capacity as usize),
            fresh: AtomicU32::new(0),
            free: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            hand: AtomicU32::new(0),
            seed: std::hash::RandomState::new().build_hasher().finish(),
        }
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    // --- nodes

    /// A word of a node; `node` counts from 1.
    fn word(&self, node: u32, index: usize) -> &AtomicU64 {
        &self.nodes[(node as usize - 1) * self.node_words + index]
    }

    fn next(&self, node: u32) -> u32 {
        self.word(node, 0).load(Relaxed) as u32
    }

    fn key_is(&self, node: u32, hash: u64, key: &[u8]) -> bool {
        self.word(node, 1).load(Relaxed) == hash
            && (0..self.key_words).all(|i| self.word(node, HEADER + i).load(Relaxed) == load_word(key, i * 8))
    }

    fn write_value(&self, node: u32, value: Value<'_>) {
        let base = HEADER + self.key_words;
        let most = self.node_words - base;
        for index in 0..value.words().min(most) {
            self.word(node, base + index).store(value.word(index), Relaxed);
        }
    }

    /// Copies a node's value out; gives its bytes in use.
    fn read_value(&self, node: u32, out: &mut [u8]) -> usize {
        let base = HEADER + self.key_words;
        let mut used = self.sizes.value;
        if self.sizes.bytes {
            let len = self.word(node, base).load(Relaxed) as u32 as usize;
            used = (len + 4).min(self.sizes.value);
        }
        for (index, chunk) in out[..used].chunks_mut(8).enumerate() {
            let word = self.word(node, base + index).load(Relaxed).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        used
    }

    fn touch(&self, node: u32) {
        if !matches!(self.policy, Policy::Lru { .. }) {
            return;
        }
        let stamp = self.word(node, 2);
        if self.sizes.capacity <= EXACT_LRU {
            stamp.store(self.clock.fetch_add(1, Relaxed) + 1, Relaxed);
        } else if stamp.load(Relaxed) != USED {
            stamp.store(USED, Relaxed);
        }
    }

    fn expired(&self, node: u32, now: u64) -> bool {
        match self.policy {
            Policy::Lru { ttl: Some(ttl) } => now.saturating_sub(self.word(node, 3).load(Relaxed)) >= ttl,
            Policy::Lru { ttl: None } | Policy::Map => false,
        }
    }

    // --- free nodes

    fn take_free(&self) -> Option<u32> {
        let mut top = self.free.load(Acquire);
        while top as u32 != 0 {
            let below = self.next(top as u32);
            let changed = (top & !0xffff_ffff).wrapping_add(VERSION) | u64::from(below);
            match self.free.compare_exchange_weak(top, changed, AcqRel, Acquire) {
                Ok(_) => return Some(top as u32),
                Err(now) => top = now,
            }
        }
        let fresh = self.fresh.fetch_update(Relaxed, Relaxed, |next| {
            (next < self.sizes.capacity).then_some(next + 1)
        });
        fresh.ok().map(|node| node + 1)
    }

    fn give_back(&self, node: u32) {
        self.word(node, 2).store(0, Relaxed);
        let mut top = self.free.load(Relaxed);
        loop {
            self.word(node, 0).store(u64::from(top as u32), Relaxed);
            let changed = (top & !0xffff_ffff).wrapping_add(VERSION) | u64::from(node);
            match self.free.compare_exchange_weak(top, changed, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    // --- buckets

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hash = self.seed ^ key.len() as u64;
        for index in 0..self.key_words {
            // Both halves of a 64 by 64 bit product, folded.
            let word = hash ^ load_word(key, index * 8);
            let mixed = u128::from(word) * u128::from(self.seed | 1);
            hash = (mixed >> 64) as u64 ^ (mixed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        hash
    }

    fn bucket(&self, hash: u64) -> &AtomicU64 {
        &self.buckets[(hash ^ hash >> 32) as usize & (self.buckets.len() - 1)]
    }

    fn hold(&self, hash: u64) -> Held<'_> {
        let bucket = self.bucket(hash);
        let mut spins = 0;
        loop {
            let word = bucket.load(Relaxed);
            if word & VERSION == 0
                && bucket
                    .compare_exchange_weak(word, word.wrapping_add(VERSION), Acquire, Relaxed)
                    .is_ok()
            {
                // Orders the odd version before the changes, for readers.
                fence(Release);
                return Held {
                    bucket,
                    word,
                    head: word as u32,
                };
            }
            pause(&mut spins);
        }
    }

    /// The node of a key in a held bucket, and the one before it.
    fn find(&self, held: &Held<'_>, hash: u64, key: &[u8]) -> Option<(u32, u32)> {
        let (mut before, mut node) = (0, held.head);
        while node != 0 {
            if self.key_is(node, hash, key) {
                return Some((node, before));
            }
            before = node;
            node = self.next(node);
        }
        None
    }

    fn unlink(&self, held: &mut Held<'_>, node: u32, before: u32) {
        let next = self.next(node);
        if before == 0 {
            held.head = next;
        } else {
            self.word(before, 0).store(u64::from(next), Relaxed);
        }
    }

    fn link(&self, held: &mut Held<'_>, node: u32, (hash, key): (u64, &[u8]), now: u64) {
        self.word(node, 0).store(u64::from(held.head), Relaxed);
        self.word(node, 1).store(hash, Relaxed);
        self.word(node, 2).store(LIVE, Relaxed);
        self.word(node, 3).store(now, Relaxed);
        for index in 0..self.key_words {
            self.word(node, HEADER + index)
                .store(load_word(key, index * 8), Relaxed);
        }
        self.touch(node);
        held.head = node;
    }

    // --- operations

    /// Copies a key's value to `out` (its layout's size), which stays untouched where there is none.
    pub(crate) fn get(&self, key: &[u8], now: u64, out: &mut [u8]) -> bool {
        let hash = self.hash(key);
        let mut spins = 0;
        if self.sizes.value <= OPTIMISTIC_BYTES {
            loop {
                let word = self.bucket(hash).load(Acquire);
                if word & VERSION == 0
                    && let Some(found) = self.get_at(word, (hash, key), now, out)
                {
                    return found;
                }
                pause(&mut spins);
            }
        }
        let held = self.hold(hash);
        let found = self.find(&held, hash, key).map(|(node, _)| node);
        let alive = found.filter(|node| !self.expired(*node, now));
        if let Some(node) = alive {
            self.read_value(node, out);
            self.touch(node);
        }
        held.release();
        if found.is_some() && alive.is_none() {
            self.forget_expired((hash, key), now);
        }
        alive.is_some()
    }

    /// One try without a lock; none where a writer came between.
    fn get_at(&self, word: u64, (hash, key): (u64, &[u8]), now: u64, out: &mut [u8]) -> Option<bool> {
        let bucket = self.bucket(hash);
        let unchanged = || {
            fence(Acquire);
            bucket.load(Relaxed) == word
        };
        let mut node = word as u32;
        while node != 0 && !self.key_is(node, hash, key) {
            node = self.next(node);
            if !unchanged() {
                return None;
            }
        }
        if node == 0 {
            return unchanged().then_some(false);
        }
        let mut value = [0; OPTIMISTIC_BYTES];
        let used = self.read_value(node, &mut value);
        let expired = self.expired(node, now);
        if !unchanged() {
            return None;
        }
        if expired {
            self.forget_expired((hash, key), now);
            return Some(false);
        }
        self.touch(node);
        out[..used].copy_from_slice(&value[..used]);
        Some(true)
    }

    fn forget_expired(&self, (hash, key): (u64, &[u8]), now: u64) {
        let mut held = self.hold(hash);
        if let Some((node, before)) = self.find(&held, hash, key)
            && self.expired(node, now)
        {
            self.unlink(&mut held, node, before);
            self.give_back(node);
        }
        held.release();
    }

    /// Stores a value; false where the key is new and there is no room.
    pub(crate) fn put(&self, key: &[u8], now: u64, value: Value<'_>) -> bool {
        self.change(key, now, |node, _| {
            self.write_value(node, value);
            self.word(node, 3).store(now, Relaxed);
        })
        .is_some()
    }

    /// Adds to an integer; the old value, none where the key is new (then it is stored if there is room).
    pub(crate) fn fetch_add(&self, key: &[u8], now: u64, amount: u64) -> Option<u64> {
        let base = HEADER + self.key_words;
        let mut old = None;
        self.change(key, now, |node, new| {
            let alive = !new && !self.expired(node, now);
            let before = self.word(node, base).load(Relaxed) & self.sizes.mask;
            let after = if alive {
                before.wrapping_add(amount)
            } else {
                amount
            };
            old = alive.then_some(before);
            self.word(node, base).store(after & self.sizes.mask, Relaxed);
            if !alive {
                self.word(node, 3).store(now, Relaxed);
            }
        });
        old
    }

    /// Lets `write` change the node of a key, old or new, while its bucket is held.
    fn change(&self, key: &[u8], now: u64, write: impl FnOnce(u32, bool)) -> Option<()> {
        let hash = self.hash(key);
        let mut spare = None;
        loop {
            let mut held = self.hold(hash);
            if let Some((node, _)) = self.find(&held, hash, key) {
                write(node, false);
                self.touch(node);
                held.release();
                if let Some(spare) = spare {
                    self.give_back(spare);
                }
                return Some(());
            }
            if let Some(node) = spare.take().or_else(|| self.take_free()) {
                self.link(&mut held, node, (hash, key), now);
                write(node, true);
                held.release();
                return Some(());
            }
            held.release();
            if self.policy == Policy::Map {
                return None;
            }
            // No bucket is held here, so that two threads can't wait for each other.
            spare = Some(self.evict());
        }
    }

    /// Removes a key; whether it was there.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let mut held = self.hold(hash);
        let found = self.find(&held, hash, key);
        if let Some((node, before)) = found {
            self.unlink(&mut held, node, before);
            self.give_back(node);
        }
        held.release();
        found.is_some()
    }

    // --- forgetting

    /// Takes a node away from some key.
    fn evict(&self) -> u32 {
        let mut spins = 0;
        loop {
            if let Some(node) = self.take_free() {
                return node;
            }
            let exact = self.sizes.capacity <= EXACT_LRU;
            let victim = if exact { self.oldest() } else { self.under_hand() };
            if let Some((node, stamp)) = victim
                && self.take_away(node, stamp)
            {
                return node;
            }
            pause(&mut spins);
        }
    }

    fn oldest(&self) -> Option<(u32, u64)> {
        let stamps = (1..=self.sizes.capacity).map(|node| (node, self.word(node, 2).load(Relaxed)));
        stamps
            .filter(|(_, stamp)| *stamp != 0)
            .min_by_key(|(_, stamp)| *stamp)
    }

    fn under_hand(&self) -> Option<(u32, u64)> {
        for _ in 0..=2 * u64::from(self.sizes.capacity) {
            let node = self.hand.fetch_add(1, Relaxed) % self.sizes.capacity + 1;
            let stamp = self.word(node, 2);
            match stamp.load(Relaxed) {
                LIVE => return Some((node, LIVE)),
                USED => {
                    let _ = stamp.compare_exchange(USED, LIVE, Relaxed, Relaxed);
                }
                _ => (),
            }
        }
        None
    }

    /// Unlinks a node if its stamp is still the one that chose it.
    fn take_away(&self, node: u32, stamp: u64) -> bool {
        let hash = self.word(node, 1).load(Relaxed);
        let mut held = self.hold(hash);
        let (mut before, mut at) = (0, held.head);
        while at != 0 && at != node {
            before = at;
            at = self.next(at);
        }
        let mine = at == node && self.word(node, 2).load(Relaxed) == stamp;
        if mine {
            self.unlink(&mut held, node, before);
            self.word(node, 2).store(0, Relaxed);
        }
        held.release();
        if at == 0 {
            // A reader stamped it after it had gone.
            let _ = self.word(node, 2).compare_exchange(stamp, 0, Relaxed, Relaxed);
        }
        mine
    }

    // --- the control plane

    /// All entries that are not past their ttl, sorted by key: key and value in their layouts.
    pub(crate) fn all(&self, now: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut out = Vec::new();
        for bucket in 0..self.buckets.len() as u64 {
            // `bucket` folds its argument's halves; a small number is its own index.
            let held = self.hold(bucket);
            let mut node = held.head;
            while node != 0 {
                if !self.expired(node, now) {
                    let words = (0..self.key_words).map(|i| self.word(node, HEADER + i).load(Relaxed));
                    let mut key: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
                    key.truncate(self.sizes.key);
                    let mut value = vec![0; self.sizes.value];
                    self.read_value(node, &mut value);
                    out.push((key, value));
                }
                node = self.next(node);
            }
            held.release();
        }
        out.sort();
        out
    }
}

/// Waits a moment; longer where the one we wait for may not be running.
fn pause(spins: &mut u32) {
    *spins += 1;
    if *spins > 64 {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(policy: Policy, capacity: u32) -> Entries {
        Entries::new(
            policy,
            Sizes {
                key: 4,
                value: 8,
                bytes: false,
                mask: u64::MAX,
                capacity,
            },
        )
    }

    fn put(entries: &Entries, key: u32, value: u64, now: u64) -> bool {
        entries.put(&key.to_be_bytes(), now, Value::Whole(&value.to_ne_bytes()))
    }

    fn get(entries: &Entries, key: u32, now: u64) -> Option<u64> {
        let mut out = [0; 8];
        entries
            .get(&key.to_be_bytes(), now, &mut out)
            .then(|| u64::from_ne_bytes(out))
    }

    #[test]
    fn a_full_map_refuses_new_keys_alone() {
        let map = entries(Policy::Map, 3);
        assert!((1..=3).all(|key| put(&map, key, u64::from(key), 0)));
        assert!(!put(&map, 4, 4, 0));
        assert!(put(&map, 2, 20, 0));
        assert_eq!(map.fetch_add(&9u32.to_be_bytes(), 0, 1), None);
        assert_eq!(get(&map, 9, 0), None);
        assert!(map.remove(&1u32.to_be_bytes()));
        assert!(put(&map, 4, 4, 0));
        assert_eq!(
            [1, 2, 3, 4].map(|key| get(&map, key, 0)),
            [None, Some(20), Some(3), Some(4)]
        );
    }

    #[test]
    fn a_small_lru_forgets_the_least_recently_used_entry() {
        let lru = entries(Policy::Lru { ttl: None }, 3);
        for key in 1..=3 {
            put(&lru, key, u64::from(key), 0);
        }
        get(&lru, 1, 0);
        put(&lru, 4, 4, 0);
        assert_eq!(
            [1, 2, 3, 4].map(|key| get(&lru, key, 0).is_some()),
            [true, false, true, true]
        );
    }

    #[test]
    fn a_large_lru_keeps_what_was_just_put() {
        let lru = entries(Policy::Lru { ttl: None }, EXACT_LRU + 72);
        for key in 0..10_000 {
            put(&lru, key, u64::from(key), 0);
            assert_eq!(get(&lru, key, 0), Some(u64::from(key)));
        }
        assert_eq!(lru.all(0).len() as u32, EXACT_LRU + 72);
    }

    #[test]
    fn an_entry_lives_for_its_ttl_from_the_last_put() {
        let lru = entries(Policy::Lru { ttl: Some(10) }, 4);
        put(&lru, 1, 5, 100);
        assert_eq!(get(&lru, 1, 109), Some(5));
        assert_eq!(lru.fetch_add(&1u32.to_be_bytes(), 109, 2), Some(5));
        assert_eq!(get(&lru, 1, 110), None);
        assert_eq!(lru.fetch_add(&1u32.to_be_bytes(), 110, 2), None);
        assert_eq!(get(&lru, 1, 119), Some(2));
    }

    #[test]
    fn additions_to_one_key_from_many_threads_all_count() {
        let map = entries(Policy::Map, 64);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let map = &map;
                scope.spawn(move || {
                    for n in 0..20_000u32 {
                        map.fetch_add(&(n % 7).to_be_bytes(), 0, 1);
                        put(map, 100 + thread * 10 + n % 10, u64::from(n), 0);
                        map.remove(&(100 + thread * 10 + n % 10).to_be_bytes());
                    }
                });
            }
        });
        let total: u64 = (0..7).map(|key| get(&map, key, 0).unwrap()).sum();
        assert_eq!(total, 80_000);
        assert_eq!(map.all(0).len(), 7);
    }

    #[test]
    fn readers_see_only_bytes_of_their_key_while_others_replace_entries() {
        let sizes = Sizes {
            key: 4,
            value: 48,
            bytes: false,
            mask: u64::MAX,
            capacity: 16,
        };
        let lru = Entries::new(Policy::Lru { ttl: None }, sizes);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let lru = &lru;
                scope.spawn(move || {
                    let mut out = [0; 48];
                    for n in 0..30_000u32 {
                        let key = (n * 7 + thread * 13) % 40;
                        lru.put(&key.to_be_bytes(), 0, Value::Whole(&[key as u8; 48]));
                        let other = (n * 3 + thread) % 40;
                        if lru.get(&other.to_be_bytes(), 0, &mut out) {
                            assert_eq!(out, [other as u8; 48]);
                        }
                    }
                });
            }
        });
        assert!(lru.all(0).len() <= 16);
    }
}

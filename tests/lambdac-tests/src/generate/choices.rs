//! The sequence of choices that a program is made from.

/// Draws choices: new ones from a seed, or recorded ones.
#[derive(Clone, Debug)]
pub struct Choices {
    drawn: Vec<u32>,
    recorded: Option<Vec<u32>>,
    state: u64,
}

impl Choices {
    /// New choices from a seed.
    pub fn random(seed: u64) -> Self {
        Self {
            drawn: Vec::new(),
            recorded: None,
            state: seed ^ 0x5eed_1234_abcd_9876,
        }
    }

    /// Recorded choices; zeros after their end.
    pub fn replay(recorded: Vec<u32>) -> Self {
        Self {
            drawn: Vec::new(),
            recorded: Some(recorded),
            state: 0,
        }
    }

    /// All that were drawn so far.
    pub fn drawn(&self) -> &[u32] {
        &self.drawn
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, at least 1; 0 is the plainest.
    pub fn below(&mut self, n: u32) -> u32 {
        let value = match &self.recorded {
            Some(recorded) => recorded.get(self.drawn.len()).copied().unwrap_or(0) % n.max(1),
            None => (self.next() >> 32) as u32 % n.max(1),
        };
        self.drawn.push(value);
        value
    }

    /// A number from `lo` to `hi`, both included.
    pub fn range(&mut self, lo: u32, hi: u32) -> u32 {
        lo + self.below(hi - lo + 1)
    }

    /// True in `percent` of cases; false is the plainest.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let index = self.below(of.len() as u32) as usize;
        &of[index]
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        u64::from(self.below(u32::MAX)) << 32 | u64::from(self.below(u32::MAX))
    }

    /// A number of so many bits, often at an edge.
    pub fn number(&mut self, bits: u8) -> u64 {
        let mask = u64::MAX >> (64 - bits);
        let value = match self.below(7) {
            0 => 0,
            1 => 1,
            2 => u64::from(self.below(16)),
            3 => u64::MAX,
            4 => 1 << (bits - 1),
            5 => (1 << (bits - 1)) - 1,
            _ => self.bits(),
        };
        value & mask
    }
}

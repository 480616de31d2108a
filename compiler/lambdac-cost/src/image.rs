//! What an image takes around its lambdas: the parts that a P4 program has.

use std::ops::AddAssign;

use lambdac_target::Items;

/// How many of each part an image has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Headers that are parsed and deparsed.
    pub headers: u64,
    /// Bits of them all, metadata included.
    pub header_bits: u64,
    /// Branches of the control flow.
    pub branches: u64,
    /// Tables without a key.
    pub keyless_tables: u64,
    /// Tables with a key.
    pub keyed_tables: u64,
    /// Bits of the keys of them all.
    pub key_bits: u64,
    /// Actions.
    pub actions: u64,
    /// Words that actions assign.
    pub assigned_words: u64,
    /// Calls of the plugin.
    pub plugin_calls: u64,
}

impl AddAssign for Shape {
    fn add_assign(&mut self, other: Self) {
        self.headers += other.headers;
        self.header_bits += other.header_bits;
        self.branches += other.branches;
        self.keyless_tables += other.keyless_tables;
        self.keyed_tables += other.keyed_tables;
        self.key_bits += other.key_bits;
        self.actions += other.actions;
        self.assigned_words += other.assigned_words;
        self.plugin_calls += other.plugin_calls;
    }
}

impl Shape {
    /// Words of all the parts.
    pub fn words(&self, items: &Items) -> u64 {
        self.headers * items.header
            + self.header_bits.div_ceil(32) * items.header_word
            + self.branches * items.branch_node
            + self.keyless_tables * items.keyless_table
            + self.keyed_tables * items.keyed_table
            + self.key_bits.div_ceil(32) * items.key_word
            + self.actions * items.action
            + self.assigned_words * items.assigned_word
            + self.plugin_calls * items.plugin_call
    }
}

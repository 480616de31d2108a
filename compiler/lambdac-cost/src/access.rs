//! Prices of reaching memory.

use lambdac_mir::{ObjectKind, Shape};
use lambdac_target::Memory;

use crate::locals::local_share;
use crate::ops::Price;
use crate::placement::key_bytes;
use crate::{BURST, Model};

/// Where something lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home<'d> {
    /// The core's local memory: words of it are operands.
    Local,
    /// A memory that takes commands.
    Memory(&'d Memory),
    /// The packet.
    Packet,
}

impl<'d> Model<'d> {
    /// Where what is passed by reference lies: where a slot of its own would.
    pub(crate) fn passed_home(&self, shape: &Shape) -> Home<'d> {
        if shape.packed_size() <= local_share(self.device) {
            return Home::Local;
        }
        self.spilled_home(shape)
    }

    /// Where a slot lies that has no room in local memory: the nearest memory of the whole device that has room for one
    /// of every thread.
    pub(crate) fn spilled_home(&self, shape: &Shape) -> Home<'d> {
        let core = &self.device.core;
        let threads = u64::from(core.cores).max(1) * u64::from(core.threads).max(1);
        let near = self.device.memory.iter().find(|memory| {
            memory.shared == lambdac_target::Sharing::Device && memory.bytes / threads >= shape.packed_size()
        });
        near.or(self.device.memory.last())
            .map_or(Home::Local, Home::Memory)
    }

    fn latency(&self, home: Home<'d>) -> u64 {
        match home {
            Home::Local => 0,
            Home::Memory(memory) => memory.latency,
            Home::Packet => self.device.packet_memory().map_or(0, |memory| memory.latency),
        }
    }

    /// Turning an index into an address: scaled and added.
    pub(crate) fn index(&self) -> Price {
        self.price(self.ops.shift32_const).then(self.alu(32))
    }

    /// Reading or writing a scalar. `indexed`: at an address that is only known at run time.
    pub(crate) fn scalar(&self, home: Home<'d>, width: u8, indexed: bool, write: bool) -> Price {
        let words = u64::from(width).div_ceil(32);
        let part = if width < 32 {
            self.price(self.ops.field)
        } else {
            Price::default()
        };
        match home {
            Home::Local => {
                let pointer = if indexed {
                    self.price(self.ops.lmem_pointer)
                } else {
                    Price::default()
                };
                pointer
                    .then(self.price(self.ops.lmem_word).times(words))
                    .then(part)
            }
            Home::Packet if !indexed => self
                .price(self.ops.move_word)
                .times(words)
                .then(self.price(self.ops.field)),
            Home::Memory(_) | Home::Packet => {
                let command = self
                    .price(self.ops.address)
                    .then(self.price(self.ops.command))
                    .then(self.price(self.ops.move_word).times(words))
                    .then(part);
                // A write is posted, but a part of a word is read first.
                if write && width.is_multiple_of(8) {
                    command
                } else {
                    command.wait(self.latency(home))
                }
            }
        }
    }

    /// The first bytes of a request, read into registers once.
    pub(crate) fn request_burst(&self, bytes: u64) -> Price {
        let words = bytes.min(BURST).div_ceil(4);
        if words == 0 {
            return Price::default();
        }
        self.price(self.ops.address)
            .then(self.price(self.ops.command))
            .wait(self.latency(Home::Packet))
    }

    /// Going over bytes, at most `most` and `expected` on average, with `each` for every word: a loop of bursts.
    pub(crate) fn stream(&self, homes: &[Home<'d>], most: u64, expected: u64, each: Price) -> Price {
        let commands = homes.iter().fold(Price::default(), |sum, home| match home {
            Home::Local => sum.then(self.price(self.ops.lmem_pointer)),
            Home::Memory(_) | Home::Packet => sum
                .then(self.price(self.ops.address))
                .then(self.price(self.ops.command))
                .then(self.price(self.ops.run_time_length))
                .wait(self.latency(*home)),
        });
        let per_word = homes
            .iter()
            .fold(each, |sum, _| sum.then(self.price(self.ops.move_word)));
        let count = self.alu(32).then(self.branch(32));
        let burst = commands.then(count);
        let word = per_word.then(count);
        let bursts = burst.trips(most.div_ceil(BURST), expected.div_ceil(BURST).max(1));
        bursts.then(word.trips(most.div_ceil(4), expected.div_ceil(4)))
    }

    /// Moving a number of bytes that is known: unrolled up to a burst, a loop of bursts beyond.
    pub(crate) fn fixed(&self, homes: &[Home<'d>], bytes: u64) -> Price {
        if bytes > BURST {
            return self.stream(homes, bytes, bytes, Price::default());
        }
        let words = bytes.div_ceil(4);
        homes.iter().fold(Price::default(), |sum, home| {
            let price = match home {
                Home::Local => self.price(self.ops.lmem_word).times(words),
                Home::Memory(_) | Home::Packet => self
                    .price(self.ops.address)
                    .then(self.price(self.ops.command))
                    .then(self.price(self.ops.move_word).times(words))
                    .wait(self.latency(*home)),
            };
            sum.then(price)
        })
    }

    /// Finding an entry of a map, lru or table.
    pub(crate) fn lookup(&self, kind: &ObjectKind, memory: Option<&'d Memory>) -> Price {
        let (key, value) = match kind {
            ObjectKind::Lru { key, value, .. }
            | ObjectKind::Map { key, value, .. }
            | ObjectKind::Table { key, value, .. } => (key_bytes(key), value.packed_size()),
            ObjectKind::Value { .. } | ObjectKind::Counter { .. } => return Price::default(),
        };
        let home = memory.map_or(Home::Local, Home::Memory);
        let words = key.div_ceil(4).max(1);
        let hash = self
            .price(self.ops.crc_seed)
            .then(self.price(self.ops.crc_word).times(words));
        // The key of an entry comes in bursts and is compared word by word; a second place is looked at at worst.
        let compare = self.branch(32).times(words.min(BURST / 4));
        let probe = self.fixed(&[home], key.max(4)).then(compare);
        hash.then(probe.trips(2, 1)).then(self.fixed(&[home], value))
    }

    /// Changing a number that others change too.
    pub(crate) fn atomic(&self, home: Home<'d>, indexed: bool, fetch: bool) -> Price {
        let address = if indexed { self.index() } else { Price::default() };
        if fetch {
            address
                .then(self.price(self.ops.atomic_fetch))
                .wait(self.latency(home))
        } else {
            address.then(self.price(self.ops.atomic))
        }
    }

    /// A compare-and-swap: no device command does one of a whole word, so a lock is taken around it.
    pub(crate) fn compare_and_swap(&self, home: Home<'d>, width: u8) -> Price {
        self.price(self.ops.lock)
            .wait(2 * self.latency(home))
            .then(self.scalar(home, width, true, false))
            .then(self.branch(width))
            .then(self.scalar(home, width, true, true))
    }
}

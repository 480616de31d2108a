//! Putting messages together from packets, under caps on memory and time.
//!
//! A pure state machine: the caller brings the source, the checked header, the payload and the
//! time. Only messages of several packets come here; a one-packet message is whole as it is.
//!
//! Memory is taken per fragment received, never by what a header announces. A message's blocks
//! are found through groups of 64 block numbers, and a group exists once a fragment of it came,
//! so the dearest fragment costs one block, one group and one message record. The costs are
//! counted for the sender's address, its network and in all. Over a cap, the heaviest address
//! under that cap loses its oldest message, again and again until the fragment fits. "Address"
//! means the whole IPv4 address or the /64 of an IPv6 one, "network" the /24 or the /48.
//!
//! Freed memory is kept for the next message, so after warm-up nothing is allocated but the
//! occasional tree node.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::slab::Slab;
use crate::{Header, MAX_FRAGMENT, MAX_MESSAGE};

/// Marks "no block" and "no group".
const NIL: u32 = u32::MAX;
/// Fragment numbers in a group.
const GROUP: usize = 64;
/// Groups in a message of the most fragments that [`MAX_MESSAGE`] allows.
const GROUPS: usize = MAX_MESSAGE.div_ceil(MAX_FRAGMENT).div_ceil(GROUP);
/// What one stored fragment counts for, in bytes.
const BLOCK_COST: usize = size_of::<Block>();
/// What one group of block numbers counts for, in bytes.
const GROUP_COST: usize = size_of::<[u32; GROUP]>();
/// What a message counts for beside its fragments: its record and its places in the indexes.
const MESSAGE_COST: usize = size_of::<Message>() + 128;

/// Caps of a [`Reassembler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes in all.
    pub total: usize,
    /// Most bytes for one address.
    pub per_address: usize,
    /// Most bytes for one network.
    pub per_network: usize,
    /// Nanoseconds from a message's first fragment until it is given up.
    pub timeout_ns: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            total: 64 << 20,
            per_address: 8 << 20,
            per_network: 32 << 20,
            timeout_ns: 1_000_000_000,
        }
    }
}

impl Limits {
    /// The share of one of `parts` reassemblers that split these caps and know nothing of each
    /// other. No share is so small that a message of [`MAX_MESSAGE`] would not fit.
    pub fn split(self, parts: usize) -> Limits {
        let floor = MAX_MESSAGE.div_ceil(MAX_FRAGMENT) * BLOCK_COST + GROUPS * GROUP_COST + MESSAGE_COST;
        let share = |cap: usize| (cap / parts.max(1)).max(floor).min(cap);
        Limits {
            total: share(self.total),
            per_address: share(self.per_address),
            per_network: share(self.per_network),
            timeout_ns: self.timeout_ns,
        }
    }
}

/// What became of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Kept; its message is not whole yet.
    Stored,
    /// It was the last one missing: the message stands in the caller's buffer.
    Complete,
    /// The same fragment was here already.
    Duplicate,
    /// It contradicts what came before; the whole message was dropped.
    Disagrees,
    /// There is no room for it under the caps.
    Refused,
}

/// What a [`Reassembler`] has counted. Every fragment offered is in exactly one of `stored`,
/// `duplicates`, `disagreeing` and `refused`; every message started ends in exactly one of
/// `completed`, `disagreements`, `evicted` and `expired`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReassemblyStats {
    /// Fragments kept, the completing ones included.
    pub stored: u64,
    /// Fragments that were here already.
    pub duplicates: u64,
    /// Fragments that contradicted their message.
    pub disagreeing: u64,
    /// Fragments for which there was no room.
    pub refused: u64,
    /// Messages begun.
    pub started: u64,
    /// Messages made whole.
    pub completed: u64,
    /// Messages dropped because a fragment disagreed.
    pub disagreements: u64,
    /// Messages dropped to make room.
    pub evicted: u64,
    /// Messages given up after the time-out.
    pub expired: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: SocketAddr,
    workload: u32,
    request: u64,
}

#[derive(Debug)]
struct Block {
    len: u16,
    data: [u8; MAX_FRAGMENT],
}

#[derive(Debug)]
struct Message {
    key: Key,
    /// Age order: unique and growing.
    sequence: u64,
    started_ns: u64,
    fragments: u16,
    received: u16,
    address: u32,
    cost: usize,
    groups: [u32; GROUPS],
}

#[derive(Debug)]
struct Address {
    ip: u128,
    network: u32,
    cost: usize,
    messages: u32,
}

#[derive(Debug)]
struct Network {
    prefix: u128,
    cost: usize,
    addresses: u32,
}

/// Which cap is to be met.
#[derive(Clone, Copy)]
enum Scope {
    Address(Option<u32>),
    Network(Option<u32>),
    Total,
}

/// Half-arrived messages. See the module's first lines for the rules.
#[derive(Debug)]
pub struct Reassembler {
    limits: Limits,
    cost: usize,
    next_sequence: u64,
    blocks: Slab<Box<Block>>,
    groups: Slab<[u32; GROUP]>,
    messages: Slab<Message>,
    addresses: Slab<Address>,
    networks: Slab<Network>,
    message_of: HashMap<Key, u32>,
    address_of: HashMap<u128, u32>,
    network_of: HashMap<u128, u32>,
    /// (sequence, message): all messages by age.
    by_age: BTreeSet<(u64, u32)>,
    /// (address, sequence, message): an address's messages by age.
    by_address: BTreeSet<(u32, u64, u32)>,
    /// (cost, address): all addresses by weight.
    by_weight: BTreeSet<(usize, u32)>,
    /// (network, cost, address): a network's addresses by weight.
    by_network: BTreeSet<(u32, usize, u32)>,
    stats: ReassemblyStats,
}

impl Reassembler {
    /// An empty one under `limits`.
    pub fn new(limits: Limits) -> Reassembler {
        Reassembler {
            limits,
            cost: 0,
            next_sequence: 0,
            blocks: Slab::new(),
            groups: Slab::new(),
            messages: Slab::new(),
            addresses: Slab::new(),
            networks: Slab::new(),
            message_of: HashMap::new(),
            address_of: HashMap::new(),
            network_of: HashMap::new(),
            by_age: BTreeSet::new(),
            by_address: BTreeSet::new(),
            by_weight: BTreeSet::new(),
            by_network: BTreeSet::new(),
            stats: ReassemblyStats::default(),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> ReassemblyStats {
        self.stats
    }

    /// Bytes accounted for at the moment.
    pub fn bytes(&self) -> usize {
        self.cost
    }

    /// Messages waiting for fragments.
    pub fn waiting(&self) -> usize {
        self.message_of.len()
    }

    /// When the oldest message will be given up, in the caller's nanoseconds.
    pub fn next_expiry(&self) -> Option<u64> {
        let &(_, oldest) = self.by_age.first()?;
        Some(
            self.messages[oldest]
                .started_ns
                .saturating_add(self.limits.timeout_ns),
        )
    }

    /// Gives up every message whose time is over at `now_ns`.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(&(_, oldest)) = self.by_age.first() {
            if self.messages[oldest]
                .started_ns
                .saturating_add(self.limits.timeout_ns)
                > now_ns
            {
                return;
            }
            self.remove(oldest);
            self.stats.expired += 1;
        }
    }

    /// Takes one fragment of a message of full-sized packets.
    ///
    /// `header` has passed [`Header::decode`] and [`Header::check_fragment_size`] with
    /// [`MAX_FRAGMENT`]; the caller has refused messages that are too large for their receiver.
    /// On [`Offer::Complete`], `whole` holds exactly the message.
    pub fn offer(
        &mut self,
        now_ns: u64,
        source: SocketAddr,
        header: &Header,
        payload: &[u8],
        whole: &mut Vec<u8>,
    ) -> Offer {
        self.expire(now_ns);
        let key = Key {
            source,
            workload: header.workload,
            request: header.request,
        };
        let offer = match self.message_of.get(&key).copied() {
            Some(message) => self.offer_to(message, header, payload),
            None => self.offer_first(key, now_ns, header, payload),
        };
        match offer {
            Ok(message) => {
                self.stats.stored += 1;
                if self.messages[message].received < self.messages[message].fragments {
                    return Offer::Stored;
                }
                self.join(message, whole);
                self.remove(message);
                self.stats.completed += 1;
                Offer::Complete
            }
            Err(offer) => {
                match offer {
                    Offer::Duplicate => self.stats.duplicates += 1,
                    Offer::Disagrees => self.stats.disagreeing += 1,
                    _ => self.stats.refused += 1,
                }
                offer
            }
        }
    }

    /// A fragment of a message that is waiting; gives the message if the fragment was stored.
    fn offer_to(&mut self, message: u32, header: &Header, payload: &[u8]) -> Result<u32, Offer> {
        if self.messages[message].fragments != header.fragments {
            self.remove(message);
            self.stats.disagreements += 1;
            return Err(Offer::Disagrees);
        }
        let (group_at, at) = place(header.fragment);
        let group = self.messages[message].groups[group_at];
        let mut cost = BLOCK_COST;
        if group == NIL {
            cost += GROUP_COST;
        } else if self.groups[group][at] != NIL {
            let block = &self.blocks[self.groups[group][at]];
            if &block.data[..usize::from(block.len)] == payload {
                return Err(Offer::Duplicate);
            }
            self.remove(message);
            self.stats.disagreements += 1;
            return Err(Offer::Disagrees);
        }
        let ip = address_key(self.messages[message].key.source.ip());
        if !self.make_room(ip, cost, Some(message)) {
            return Err(Offer::Refused);
        }
        self.store(message, header.fragment, payload, cost);
        Ok(message)
    }

    /// The first fragment of a message.
    fn offer_first(&mut self, key: Key, now_ns: u64, header: &Header, payload: &[u8]) -> Result<u32, Offer> {
        let ip = address_key(key.source.ip());
        let cost = MESSAGE_COST + GROUP_COST + BLOCK_COST;
        let numbered = usize::from(header.fragments) <= GROUPS * GROUP;
        if !numbered || payload.len() > MAX_FRAGMENT || !self.make_room(ip, cost, None) {
            return Err(Offer::Refused);
        }
        let address = self.address(ip, network_key(key.source.ip()));
        self.addresses[address].messages += 1;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let message = self.messages.insert(Message {
            key,
            sequence,
            started_ns: now_ns,
            fragments: header.fragments,
            received: 0,
            address,
            cost: 0,
            groups: [NIL; GROUPS],
        });
        self.message_of.insert(key, message);
        self.by_age.insert((sequence, message));
        self.by_address.insert((address, sequence, message));
        self.stats.started += 1;
        self.store(message, header.fragment, payload, cost);
        Ok(message)
    }

    /// Puts a payload whose room has been made into its place.
    fn store(&mut self, message: u32, fragment: u16, payload: &[u8], cost: usize) {
        let block = self.blocks.reuse(|| {
            Box::new(Block {
                len: 0,
                data: [0; MAX_FRAGMENT],
            })
        });
        self.blocks[block].len = payload.len() as u16;
        self.blocks[block].data[..payload.len()].copy_from_slice(payload);
        let (group_at, at) = place(fragment);
        if self.messages[message].groups[group_at] == NIL {
            self.messages[message].groups[group_at] = self.groups.insert([NIL; GROUP]);
        }
        let record = &mut self.messages[message];
        record.received += 1;
        record.cost += cost;
        let (group, address) = (record.groups[group_at], record.address);
        self.groups[group][at] = block;
        self.weigh(address, cost as isize);
    }

    /// Copies a whole message out.
    fn join(&self, message: u32, whole: &mut Vec<u8>) {
        whole.clear();
        let record = &self.messages[message];
        for fragment in 0..record.fragments {
            let (group_at, at) = place(fragment);
            let block = &self.blocks[self.groups[record.groups[group_at]][at]];
            whole.extend_from_slice(&block.data[..usize::from(block.len)]);
        }
    }

    /// Frees a message and all it holds.
    fn remove(&mut self, message: u32) {
        let record = &self.messages[message];
        let (key, sequence, address, cost, groups) = (
            record.key,
            record.sequence,
            record.address,
            record.cost,
            record.groups,
        );
        for group in groups.into_iter().filter(|&group| group != NIL) {
            for block in self.groups[group].into_iter().filter(|&block| block != NIL) {
                self.blocks.release(block);
            }
            self.groups.release(group);
        }
        self.message_of.remove(&key);
        self.by_age.remove(&(sequence, message));
        self.by_address.remove(&(address, sequence, message));
        self.messages.release(message);
        self.weigh(address, -(cost as isize));
        self.addresses[address].messages -= 1;
        if self.addresses[address].messages == 0 {
            self.forget_address(address);
        }
    }

    /// The record of an address, made if need be.
    fn address(&mut self, ip: u128, prefix: u128) -> u32 {
        if let Some(&address) = self.address_of.get(&ip) {
            return address;
        }
        let network = match self.network_of.get(&prefix) {
            Some(&network) => network,
            None => {
                let network = self.networks.insert(Network {
                    prefix,
                    cost: 0,
                    addresses: 0,
                });
                self.network_of.insert(prefix, network);
                network
            }
        };
        self.networks[network].addresses += 1;
        let address = self.addresses.insert(Address {
            ip,
            network,
            cost: 0,
            messages: 0,
        });
        self.address_of.insert(ip, address);
        self.by_weight.insert((0, address));
        self.by_network.insert((network, 0, address));
        address
    }

    fn forget_address(&mut self, address: u32) {
        let Address {
            ip, network, cost, ..
        } = self.addresses[address];
        self.by_weight.remove(&(cost, address));
        self.by_network.remove(&(network, cost, address));
        self.address_of.remove(&ip);
        self.addresses.release(address);
        self.networks[network].addresses -= 1;
        if self.networks[network].addresses == 0 {
            self.network_of.remove(&self.networks[network].prefix);
            self.networks.release(network);
        }
    }

    /// Changes what an address, its network and the whole account for.
    fn weigh(&mut self, address: u32, change: isize) {
        let Address { network, cost, .. } = self.addresses[address];
        let weight = cost.saturating_add_signed(change);
        self.by_weight.insert((weight, address));
        self.by_network.insert((network, weight, address));
        self.by_weight.remove(&(cost, address));
        self.by_network.remove(&(network, cost, address));
        self.addresses[address].cost = weight;
        self.networks[network].cost = self.networks[network].cost.saturating_add_signed(change);
        self.cost = self.cost.saturating_add_signed(change);
    }

    /// Drops messages until `cost` more bytes from `ip` fit under every cap. False if they can't,
    /// or if `keep`, the message that they are for, was the one that had to go.
    fn make_room(&mut self, ip: u128, cost: usize, keep: Option<u32>) -> bool {
        loop {
            let address = self.address_of.get(&ip).copied();
            let network = address.map(|address| self.addresses[address].network);
            let scope = if self.addresses_cost(address) + cost > self.limits.per_address {
                Scope::Address(address)
            } else if self.networks_cost(network, ip) + cost > self.limits.per_network {
                Scope::Network(network.or_else(|| self.network_of_address(ip)))
            } else if self.cost + cost > self.limits.total {
                Scope::Total
            } else {
                return true;
            };
            let Some(victim) = self.oldest_of_heaviest(scope) else {
                return false;
            };
            self.stats.evicted += 1;
            self.remove(victim);
            if keep == Some(victim) {
                return false;
            }
        }
    }

    fn addresses_cost(&self, address: Option<u32>) -> usize {
        address.map_or(0, |address| self.addresses[address].cost)
    }

    fn network_of_address(&self, ip: u128) -> Option<u32> {
        self.network_of.get(&network_of_address_key(ip)).copied()
    }

    fn networks_cost(&self, network: Option<u32>, ip: u128) -> usize {
        network
            .or_else(|| self.network_of_address(ip))
            .map_or(0, |network| self.networks[network].cost)
    }

    /// The message to drop under a cap: the oldest of the heaviest address.
    fn oldest_of_heaviest(&self, scope: Scope) -> Option<u32> {
        let address = match scope {
            Scope::Address(address) => address?,
            Scope::Network(network) => {
                let network = network?;
                let all = (network, 0, 0)..=(network, usize::MAX, u32::MAX);
                self.by_network.range(all).next_back()?.2
            }
            Scope::Total => self.by_weight.last()?.1,
        };
        let all = (address, 0, 0)..=(address, u64::MAX, u32::MAX);
        self.by_address.range(all).next().map(|&(_, _, message)| message)
    }

    /// Fragments held at the moment.
    pub fn fragments_held(&self) -> usize {
        self.blocks.used()
    }
}

/// Group and place in it of a fragment.
fn place(fragment: u16) -> (usize, usize) {
    (usize::from(fragment) / GROUP, usize::from(fragment) % GROUP)
}

/// Marks keys of IPv4 addresses, in bits that an IPv6 key has cleared.
const V4: u128 = 1 << 40;

/// What counts as one address: IPv4 whole, IPv6 by its /64.
fn address_key(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => V4 | u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

/// What counts as one network: a /24, or an IPv6 /48.
fn network_key(ip: IpAddr) -> u128 {
    network_of_address_key(address_key(ip))
}

fn network_of_address_key(address: u128) -> u128 {
    if address & V4 != 0 {
        address >> 8 << 8
    } else {
        address >> 80 << 80
    }
}

#[cfg(test)]
mod tests;

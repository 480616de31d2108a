//! Maps: the memory that programs and this process share.
//!
//! A [`Map`] knows its sizes and checks them before each call, since the kernel reads and writes that many bytes behind
//! a bare pointer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use aya_obj::generated::{bpf_cmd, bpf_map_type};

use crate::error::{Error, Result};
use crate::program::Program;
use crate::sys;

/// `BPF_ANY` of the kernel: add or replace.
const ANY: u64 = 0;

/// Values of a per-CPU map stand this many bytes apart at least.
const PER_CPU_ALIGN: usize = 8;

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Values by key.
    Hash,
    /// The same; the least recently used entry goes when it is full.
    LruHash,
    /// Values by index.
    Array,
    /// A value by index and CPU.
    PerCpuArray,
    /// Values by prefix.
    LpmTrie,
    /// Programs by index, for tail calls.
    ProgArray,
    /// Records from programs to this process.
    RingBuf,
    /// Values by key and CPU.
    PerCpuHash,
    /// Interfaces by index.
    DevMap,
}

impl MapKind {
    fn of(map: &str, number: u32) -> Result<Self> {
        let known = [
            (bpf_map_type::BPF_MAP_TYPE_HASH, Self::Hash),
            (bpf_map_type::BPF_MAP_TYPE_LRU_HASH, Self::LruHash),
            (bpf_map_type::BPF_MAP_TYPE_ARRAY, Self::Array),
            (bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY, Self::PerCpuArray),
            (bpf_map_type::BPF_MAP_TYPE_LPM_TRIE, Self::LpmTrie),
            (bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY, Self::ProgArray),
            (bpf_map_type::BPF_MAP_TYPE_RINGBUF, Self::RingBuf),
            (bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH, Self::PerCpuHash),
            (bpf_map_type::BPF_MAP_TYPE_DEVMAP, Self::DevMap),
        ];
        let found = known.iter().find(|(kind, _)| *kind as u32 == number);
        found.map(|(_, kind)| *kind).ok_or_else(|| Error::Kind {
            map: map.to_owned(),
            kind: number,
        })
    }
}

/// The declaration of a map. Two maps with one declaration can stand for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapDef {
    /// What it is.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value; for one CPU.
    pub value_size: u32,
    /// Entries, or bytes of a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_…` of the kernel.
    pub flags: u32,
}

/// A map of the kernel. It goes away with its last user: this, a program, another process.
#[derive(Debug)]
pub struct Map {
    name: String,
    def: MapDef,
    fd: OwnedFd,
}

/// Type information of a map, where the object has it.
pub(crate) struct MapTypes<'a> {
    pub(crate) btf: BorrowedFd<'a>,
    pub(crate) key: u32,
    pub(crate) value: u32,
}

impl Map {
    pub(crate) fn definition(name: &str, map: &aya_obj::Map) -> Result<MapDef> {
        Ok(MapDef {
            kind: MapKind::of(name, map.map_type())?,
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: map.max_entries(),
            flags: map.map_flags(),
        })
    }

    pub(crate) fn create(name: &str, def: MapDef, number: u32, types: Option<&MapTypes<'_>>) -> Result<Self> {
        let mut attr = sys::attr();
        // SAFETY: writing plain integers of a union whose bytes are all initialised.
        let create = unsafe { &mut attr.__bindgen_anon_1 };
        create.map_type = number;
        create.key_size = def.key_size;
        create.value_size = def.value_size;
        create.max_entries = def.max_entries;
        create.map_flags = def.flags;
        create.map_name = sys::object_name(name);
        if let Some(types) = types {
            create.btf_fd = types.btf.as_raw_fd() as u32;
            create.btf_key_type_id = types.key;
            create.btf_value_type_id = types.value;
        }
        // SAFETY: the command takes no pointers.
        let made = unsafe { sys::bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attr) };
        let fd = made.map_err(|source| failed(name, "create", source))?;
        Ok(Self {
            name: name.to_owned(),
            def,
            fd,
        })
    }

    /// Its name in the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its declaration.
    pub fn def(&self) -> MapDef {
        self.def
    }

    /// Whether it is a data section: one value that programs address directly.
    pub fn is_section(&self) -> bool {
        self.name.starts_with('.')
    }

    /// Bytes of a value as [`Map::lookup`] gives it: for all CPUs together where the map is per CPU.
    ///
    /// # Errors
    /// If the number of CPUs is unknown.
    pub fn whole_value_size(&self) -> Result<usize> {
        let size = self.def.value_size as usize;
        if !matches!(self.def.kind, MapKind::PerCpuArray | MapKind::PerCpuHash) {
            return Ok(size);
        }
        let cpus = sys::possible_cpus().map_err(|source| failed(&self.name, "count the CPUs of", source))?;
        Ok(size.next_multiple_of(PER_CPU_ALIGN) * cpus)
    }

    fn check(&self, part: &'static str, expected: usize, given: usize) -> Result<()> {
        if expected == given {
            return Ok(());
        }
        Err(Error::Size {
            map: self.name.clone(),
            part,
            expected,
            given,
        })
    }

    fn check_key(&self, key: &[u8]) -> Result<()> {
        self.check("key", self.def.key_size as usize, key.len())
    }

    /// One command on an element. `value` is the address of as many bytes as the command takes.
    fn element(&self, cmd: bpf_cmd, key: u64, value: u64, flags: u64) -> io::Result<()> {
        let mut attr = sys::attr();
        // SAFETY: writing plain integers of a union whose bytes are all initialised.
        let element = unsafe { &mut attr.__bindgen_anon_2 };
        element.map_fd = self.fd.as_raw_fd() as u32;
        element.key = key;
        element.__bindgen_anon_1.value = value;
        element.flags = flags;
        // SAFETY: the callers in this module have checked that key and value have the map's sizes.
        unsafe { sys::bpf(cmd, &mut attr) }.map(drop)
    }

    /// The value of a key; none if there is no such entry.
    ///
    /// # Errors
    /// If the key has the wrong size or the kernel refuses.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check_key(key)?;
        let mut value = vec![0; self.whole_value_size()?];
        let address = sys::address_mut(&mut value);
        match self.element(bpf_cmd::BPF_MAP_LOOKUP_ELEM, sys::address(key), address, ANY) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(failed(&self.name, "read", source)),
        }
    }

    /// Adds or replaces an entry.
    ///
    /// # Errors
    /// If a size is wrong, the map full, or the kernel refuses.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_key(key)?;
        self.check("value", self.whole_value_size()?, value.len())?;
        let done = self.element(
            bpf_cmd::BPF_MAP_UPDATE_ELEM,
            sys::address(key),
            sys::address(value),
            ANY,
        );
        done.map_err(|source| failed(&self.name, "write", source))
    }

    /// Removes an entry; whether there was one.
    ///
    /// # Errors
    /// If the key has the wrong size or the kernel refuses.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        self.check_key(key)?;
        match self.element(bpf_cmd::BPF_MAP_DELETE_ELEM, sys::address(key), 0, ANY) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(source) => Err(failed(&self.name, "delete from", source)),
        }
    }

    /// The key after one, or the first; none at the end. After a key that is gone it starts again.
    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let mut next = vec![0; self.def.key_size as usize];
        let address = sys::address_mut(&mut next);
        let from = key.map_or(0, sys::address);
        match self.element(bpf_cmd::BPF_MAP_GET_NEXT_KEY, from, address, ANY) {
            Ok(()) => Ok(Some(next)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(failed(&self.name, "walk", source)),
        }
    }

    /// All keys, at most twice as many as the map has room for (others come and go meanwhile).
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        while keys.len() < 2 * self.def.max_entries as usize {
            let Some(key) = self.next_key(last.as_deref())? else {
                break;
            };
            keys.push(key.clone());
            last = Some(key);
        }
        Ok(keys)
    }

    /// All entries that are there at the time each is read, in the order of their keys.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn entries(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut keys = self.keys()?;
        keys.sort();
        keys.dedup();
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(value) = self.lookup(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// Removes all entries; of an array, makes all values zero.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn clear(&self) -> Result<()> {
        match self.def.kind {
            MapKind::Hash
            | MapKind::LruHash
            | MapKind::PerCpuHash
            | MapKind::LpmTrie
            | MapKind::ProgArray
            | MapKind::DevMap => {
                for key in self.keys()? {
                    self.delete(&key)?;
                }
                Ok(())
            }
            MapKind::Array | MapKind::PerCpuArray => {
                let zeros = vec![0; self.whole_value_size()?];
                (0..self.def.max_entries).try_for_each(|index| self.update(&index.to_ne_bytes(), &zeros))
            }
            MapKind::RingBuf => Ok(()),
        }
    }

    /// Puts a program into an array of programs.
    ///
    /// # Errors
    /// If the kernel refuses: the index is out of range, or the programs are of different kinds.
    pub fn set_program(&self, index: u32, program: &Program) -> Result<()> {
        self.update(&index.to_ne_bytes(), &program.as_fd().as_raw_fd().to_ne_bytes())
    }

    /// No system call can write it from now on, and the verifier may take what it holds as constants.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn freeze(&self) -> Result<()> {
        let mut attr = sys::attr();
        attr.__bindgen_anon_2.map_fd = self.fd.as_raw_fd() as u32;
        // SAFETY: the command takes no pointers.
        let done = unsafe { sys::bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attr) };
        done.map(drop)
            .map_err(|source| failed(&self.name, "freeze", source))
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn failed(map: &str, what: &'static str, source: io::Error) -> Error {
    Error::Map {
        map: map.to_owned(),
        what,
        source,
    }
}

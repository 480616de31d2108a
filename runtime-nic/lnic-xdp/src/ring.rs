//! The reading end of a ring buffer map.
//!
//! Programs write records, one reader takes them in order. The kernel maps two things (`kernel/bpf/ringbuf.c`): a page
//! with the reader's position, which we write, and after it a page with the writers' position and the data, twice in a
//! row, so that a record which wraps around is contiguous. A record is a word of length and two flags, a word that is
//! the kernel's own, and the bytes; records start at multiples of 8.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::map::{Map, MapKind};

/// `BPF_RINGBUF_BUSY_BIT`: the record is being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: its writer thought better of it.
const DISCARDED: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`.
const HEADER: u64 = 8;

/// Memory of the kernel in this process.
pub(crate) struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: the memory is shared with the kernel, so all words in it that change are accessed as atomics, from any thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps part of a map's memory.
    pub(crate) fn new(map: &Map, protection: libc::c_int, offset: usize, len: usize) -> Result<Self> {
        // SAFETY: a new mapping where the kernel likes.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(system("cannot map a map's memory"));
        }
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    /// A word at a multiple of 8.
    pub(crate) fn word64(&self, at: usize) -> &AtomicU64 {
        assert!(at + 8 <= self.len && at.is_multiple_of(8));
        // SAFETY: inside the mapping and aligned, since mappings start at pages; every access to it is atomic.
        unsafe { &*self.start.add(at).cast() }
    }

    fn word32(&self, at: usize) -> &AtomicU32 {
        assert!(at + 4 <= self.len && at.is_multiple_of(4));
        // SAFETY: as above.
        unsafe { &*self.start.add(at).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// The only reader of a ring buffer.
pub struct RingBuffer {
    map: Arc<Map>,
    position: Mapping,
    data: Mapping,
    page: usize,
    size: u64,
}

impl RingBuffer {
    /// Starts to read.
    ///
    /// # Errors
    /// If the map is no ring buffer, or the kernel gives no memory.
    pub fn new(map: Arc<Map>) -> Result<Self> {
        if map.def().kind != MapKind::RingBuf {
            return Err(Error::Absent {
                what: "ring buffer",
                name: map.name().to_owned(),
            });
        }
        // SAFETY: no arguments that matter.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| system("cannot ask for the size of a page"))?;
        let size = map.def().max_entries as usize;
        let position = Mapping::new(&map, libc::PROT_READ | libc::PROT_WRITE, 0, page)?;
        let data = Mapping::new(&map, libc::PROT_READ, page, page + 2 * size)?;
        Ok(Self {
            map,
            position,
            data,
            page,
            size: size as u64,
        })
    }

    /// Waits for records.
    ///
    /// # Errors
    /// If the kernel refuses; a signal is no error.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        Self::wait_for(&self.map, timeout)
    }

    /// Waits for records of a ring buffer that another thread may be reading.
    ///
    /// # Errors
    /// As [`RingBuffer::wait`].
    pub fn wait_for(map: &Map, timeout: Duration) -> Result<()> {
        let mut poll = libc::pollfd {
            fd: map.as_fd().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let millis = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one entry, as given.
        if unsafe { libc::poll(&mut poll, 1, millis) } < 0
            && std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR)
        {
            return Err(system("cannot wait for a ring buffer"));
        }
        Ok(())
    }

    /// Takes the records that are complete, at most `limit`, in order; how many there were.
    pub fn read(&mut self, limit: usize, record: &mut dyn FnMut(&[u8])) -> usize {
        let mut taken = 0;
        let mut at = self.position.word64(0).load(Ordering::Relaxed);
        // Pairs with the writers' release, as does the length below.
        while taken < limit && at < self.data.word64(0).load(Ordering::Acquire) {
            let offset = self.page + (at & (self.size - 1)) as usize;
            let word = self.data.word32(offset).load(Ordering::Acquire);
            if word & BUSY != 0 {
                break;
            }
            let len = word & !DISCARDED;
            if word & DISCARDED == 0 {
                record(self.bytes(offset + HEADER as usize, len as usize));
                taken += 1;
            }
            at += (u64::from(len) + HEADER).next_multiple_of(8);
            self.position.word64(0).store(at, Ordering::Release);
        }
        taken
    }

    fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= self.data.len);
        // SAFETY: inside the mapping; the record is complete, and writers don't come back to it before the position is
        // past it, which is after the last use of this borrow.
        unsafe { std::slice::from_raw_parts(self.data.start.add(at), len) }
    }
}

fn system(what: &'static str) -> Error {
    Error::System {
        what,
        source: std::io::Error::last_os_error(),
    }
}

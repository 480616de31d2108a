//! An allocator that counts the calls of the threads that ask to be watched.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

thread_local! {
    /// Whether this thread is watched.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);

struct Counting;

fn count() {
    // A thread that ends may free after its locals are gone; it serves no packets any more.
    let watched = WATCHED.try_with(Cell::get).unwrap_or(false);
    if watched && COUNTING.load(SeqCst) && CALLS.fetch_add(1, SeqCst) == 0 {
        // The first one says where it comes from; what that takes is not counted.
        WATCHED.set(false);
        eprintln!(
            "the first call of the allocator comes from\n{}",
            Backtrace::force_capture()
        );
        WATCHED.set(true);
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting changes nothing about it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps this function's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps this function's promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps this function's promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps this function's promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Watches the calling thread from now on.
pub fn watch_this_thread() {
    WATCHED.set(true);
}

/// How often watched threads call the allocator, to take or to free, while `work` goes on.
pub fn calls_during(work: impl FnOnce()) -> u64 {
    CALLS.store(0, SeqCst);
    COUNTING.store(true, SeqCst);
    work();
    COUNTING.store(false, SeqCst);
    CALLS.load(SeqCst)
}

//! Sees the system calls of one thread, all but those that it is expected to make.
//!
//! The thread puts itself under a seccomp filter that lets the expected calls through and asks a listener about all
//! others (seccomp_unotify(2)); the listener, a thread of its own, counts each and lets it go on. So a lock that
//! somebody else holds (futex), a yield, memory that is mapped: all are seen, and nothing is changed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// System calls have smaller numbers.
const NUMBERS: usize = 1024;
/// Offset of the call's number in what a filter sees (`struct seccomp_data`).
const NUMBER: u32 = 0;

/// No thread has put itself under the filter yet.
const NONE: i32 = -1;
/// The kernel refused.
const REFUSED: i32 = -2;

static LISTENER: AtomicI32 = AtomicI32::new(NONE);
static REFUSAL: AtomicU32 = AtomicU32::new(0);
static SEEN: [AtomicU64; NUMBERS] = [const { AtomicU64::new(0) }; NUMBERS];

/// Puts the calling thread under the filter, for good. Call [`listen`] first: until somebody listens, every call but
/// the expected ones waits. What comes of it is told to the listener by an atomic alone, because a call waits already.
pub fn watch_this_thread(expected: &[libc::c_long]) {
    let made = filter(expected);
    if let Err(error) = &made {
        REFUSAL.store(error.raw_os_error().unwrap_or(0) as u32, SeqCst);
    }
    LISTENER.store(made.unwrap_or(REFUSED), SeqCst);
}

fn filter(expected: &[libc::c_long]) -> io::Result<RawFd> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let give = |action: u32| op(libc::BPF_RET | libc::BPF_K, 0, 0, action);
    let mut program = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER)];
    for &call in expected {
        program.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32));
        program.push(give(libc::SECCOMP_RET_ALLOW));
    }
    program.push(give(libc::SECCOMP_RET_USER_NOTIF));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `program` points to as many instructions as it states, alive through the call, which copies them.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            std::ptr::from_ref(&program),
        )
    };
    match listener {
        -1 => Err(io::Error::last_os_error()),
        listener => Ok(listener as RawFd),
    }
}

/// Starts the listener. It ends with the watched thread.
pub fn listen() {
    std::thread::spawn(|| {
        let listener = loop {
            match LISTENER.load(SeqCst) {
                NONE => std::thread::sleep(Duration::from_millis(1)),
                REFUSED => return,
                listener => break listener,
            }
        };
        // SAFETY: the kernel has just made the descriptor, and only this thread gets it.
        let listener = unsafe { OwnedFd::from_raw_fd(listener) };
        while answer_one(&listener) {}
    });
}

/// Waits for a call, counts it, lets it go on. False once the watched thread is gone.
fn answer_one(listener: &OwnedFd) -> bool {
    let mut poll = libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live entry.
    if unsafe { libc::poll(&mut poll, 1, -1) } != 1 || poll.revents & libc::POLLIN == 0 {
        return poll.revents & libc::POLLHUP == 0;
    }
    // SAFETY: integers alone, for which zeros are valid; the kernel asks for zeros.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `seccomp_notif`.
    if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &mut call) } != 0 {
        return true;
    }
    if let Some(seen) = SEEN.get(call.data.nr as usize) {
        seen.fetch_add(1, SeqCst);
    }
    let go_on = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    // SAFETY: the kernel reads one `seccomp_notif_resp`. A call that was interrupted meanwhile comes again.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &go_on) };
    true
}

/// Why nothing is seen, where the kernel refused.
pub fn refusal() -> Option<io::Error> {
    (LISTENER.load(SeqCst) == REFUSED).then(|| io::Error::from_raw_os_error(REFUSAL.load(SeqCst) as i32))
}

/// Numbers of the calls that were not expected while `work` went on, and how often each came.
pub fn during(work: impl FnOnce()) -> BTreeMap<usize, u64> {
    SEEN.iter().for_each(|seen| seen.store(0, SeqCst));
    work();
    let counts = SEEN.iter().map(|seen| seen.load(SeqCst));
    counts.enumerate().filter(|(_, count)| *count > 0).collect()
}

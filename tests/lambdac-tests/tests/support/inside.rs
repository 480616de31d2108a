//! Threads in other network namespaces.

use std::os::fd::AsRawFd;

use lambdac_tests::peers::netns::{Net, Side};

/// Runs something on a thread that is in another namespace: its sockets are there.
pub fn inside<T: Send>(net: &Net, side: Side, run: impl FnOnce() -> T + Send) -> T {
    let file = format!("/run/netns/{}", net.namespace(side));
    let namespace = std::fs::File::open(file).expect("the namespace has a file");
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            // SAFETY: a descriptor that is open; only this thread changes its namespace.
            let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
            run()
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

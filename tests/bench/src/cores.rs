//! Which cores servers and load generators get. They never share one, where there are two or more.

use std::io;

/// Cores of this machine, split between a server and the load on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The server's.
    pub server: Vec<usize>,
    /// The load generator's.
    pub load: Vec<usize>,
}

impl Cores {
    /// The first half of the cores that this process may use for the server, the others for the load.
    pub fn split() -> io::Result<Cores> {
        let all = allowed()?;
        let half = (all.len() / 2).max(1);
        let load = if all.len() > 1 {
            all[half..].to_vec()
        } else {
            all.clone()
        };
        Ok(Cores {
            server: all[..half].to_vec(),
            load,
        })
    }
}

fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: a set of cores is an array of integers, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` lives through the call and has the size given.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every index is below the set's size.
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect())
}

/// Binds the calling thread, and those it starts later, to cores.
pub fn bind(cores: &[usize]) -> io::Result<()> {
    // SAFETY: as in `allowed`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores.iter().filter(|&&core| core < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is below the set's size.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: `set` lives through the call and has the size given.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

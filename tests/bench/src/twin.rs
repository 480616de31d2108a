//! A lambda's twin: a C function in a shared object.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Result, bail};

/// Request and its length, reply; gives the reply's length.
type Function = unsafe extern "C" fn(*const u8, u32, *mut u8) -> u32;

/// A loaded twin. It stays loaded until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Twin {
    function: Function,
    max_reply: usize,
}

impl Twin {
    /// Loads `twin` of a shared object, whose replies have at most `max_reply` bytes.
    pub fn load(path: &Path, max_reply: usize) -> Result<Twin> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is a C string; constructors of our twins touch only their own tables.
        let object = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if object.is_null() {
            bail!("can't load a twin: {}", last_error());
        }
        // SAFETY: `object` was loaded just now and the name is a C string.
        let symbol = unsafe { libc::dlsym(object, c"twin".as_ptr()) };
        if symbol.is_null() {
            bail!("no twin: {}", last_error());
        }
        // SAFETY: every twin is a function of this type, and its object is never unloaded.
        let function = unsafe { std::mem::transmute::<*mut libc::c_void, Function>(symbol) };
        Ok(Twin { function, max_reply })
    }

    /// Runs it; gives the reply's length.
    ///
    /// # Panics
    /// If the reply buffer is too short.
    #[inline]
    pub fn call(&self, request: &[u8], reply: &mut [u8]) -> usize {
        assert!(reply.len() >= self.max_reply, "the reply buffer is too short");
        // SAFETY: the twin reads `len` bytes of the request and writes at most `max_reply` bytes of the reply.
        unsafe { (self.function)(request.as_ptr(), request.len() as u32, reply.as_mut_ptr()) as usize }
    }
}

fn last_error() -> String {
    // SAFETY: gives null, or a C string that stays until the next call of this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            String::new()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

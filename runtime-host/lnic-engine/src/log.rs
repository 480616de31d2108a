//! Log lines of lambdas.

use lambdac_backend_host::context::LogValue;
use lambdac_backend_host::support::slice;

/// The longest line in bytes; the rest is cut off.
pub(crate) const MAX_LINE: usize = 1024;

/// Takes the log lines of lambdas on one thread. Rate limiting is its business.
pub trait LogSink: Send {
    /// A line, at most 1,024 bytes of printable text, of a workload.
    fn line(&mut self, workload: &str, text: &str);
}

/// Writes a line: the text, then the arguments, with spaces between.
///
/// # Safety
/// Addresses in `args` are those of live byte strings.
pub(crate) unsafe fn format_line(out: &mut String, text: &[u8], args: &[LogValue]) {
    use std::fmt::Write;
    out.clear();
    escape(out, text);
    for arg in args {
        if out.len() >= MAX_LINE {
            break;
        }
        out.push(' ');
        // Writing to a string cannot fail.
        let _ = match arg.kind {
            0 => write!(out, "{}", arg.value),
            1 => write!(out, "{}", arg.value as i64),
            2 => write!(out, "{}", arg.value != 0),
            _ => {
                // SAFETY: the caller's promise.
                escape(out, unsafe { slice(arg.value as *const u8, arg.len) });
                Ok(())
            }
        };
    }
    out.truncate(MAX_LINE);
}

/// Appends bytes as printable ASCII, others as the language's escapes.
fn escape(out: &mut String, bytes: &[u8]) {
    use std::fmt::Write;
    for byte in bytes {
        if out.len() >= MAX_LINE {
            return;
        }
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_bounded_and_printable() {
        let mut out = String::new();
        let text = [b'a', b'\n', 0xff];
        let args = [
            LogValue {
                kind: 1,
                len: 0,
                value: -5i64 as u64,
            },
            LogValue {
                kind: 2,
                len: 0,
                value: 1,
            },
            LogValue {
                kind: 3,
                len: 3,
                value: text.as_ptr() as u64,
            },
        ];
        // SAFETY: the address is that of `text`.
        unsafe { format_line(&mut out, b"got", &args) };
        assert_eq!(out, "got -5 true a\\n\\xff");
        // SAFETY: no argument has an address.
        unsafe { format_line(&mut out, &[b'x'; 5000], &[]) };
        assert_eq!(out.len(), MAX_LINE);
    }
}

//! What answers an `await`.

use lambdac_hir::{GivenResult, ServiceId, ServiceOp};

/// The outside world of a call.
pub trait ServiceOracle {
    /// The answer to one request; `value` is what `set` stores.
    ///
    /// Requests whose key may not be sent never get here.
    fn request(&mut self, service: ServiceId, op: ServiceOp, key: &[u8], value: Option<&[u8]>)
    -> GivenResult;
}

/// Services that never answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoServices;

impl ServiceOracle for NoServices {
    fn request(&mut self, _: ServiceId, _: ServiceOp, _: &[u8], _: Option<&[u8]>) -> GivenResult {
        GivenResult::Fail
    }
}

/// Longest key that memcached takes (`KEY_MAX_LENGTH` of its protocol text).
const MAX_KEY_LEN: usize = 250;

/// The most bytes that `get` gives; a longer value counts as a failure.
pub(crate) const MAX_VALUE_LEN: usize = 1024;

/// Whether a key may be sent to memcached: 1 to 250 bytes, no blank or control byte that could end the command.
pub fn key_may_be_sent(key: &[u8]) -> bool {
    (1..=MAX_KEY_LEN).contains(&key.len()) && key.iter().all(|&byte| byte > 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::key_may_be_sent;

    #[test]
    fn a_key_that_could_end_the_command_is_not_sent() {
        assert!(key_may_be_sent(b"k"));
        assert!(key_may_be_sent(&[b'k'; 250]));
        assert!(key_may_be_sent("ä".as_bytes()));
        for key in [
            &b""[..],
            b"a b",
            b"a\r\nflush_all",
            b"a\0",
            b"a\x7f",
            &[b'k'; 251],
        ] {
            assert!(!key_may_be_sent(key), "{key:?}");
        }
    }
}

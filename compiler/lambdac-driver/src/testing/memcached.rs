//! memcached's text protocol (memcached's doc/protocol.txt) as a scripted service speaks it: what a NIC's program asks
//! is read as strictly as it must be written, and the script's answer becomes the text that memcached would send.

use lambdac_interp::key_may_be_sent;
use lambdac_mir::ServiceOp;

use super::ServiceAnswer;

/// A whole command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The operation.
    pub op: ServiceOp,
    /// The key.
    pub key: Vec<u8>,
    /// The value of a set.
    pub value: Vec<u8>,
}

impl Command {
    /// Reads a command; none if it is not one of ours to the byte.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (op, key, value) = parts(text)?;
        key_may_be_sent(key).then(|| Self {
            op,
            key: key.to_vec(),
            value: value.to_vec(),
        })
    }

    /// What memcached says; none if it says nothing.
    pub fn answer(&self, answer: &ServiceAnswer) -> Option<Vec<u8>> {
        Some(match (answer, self.op) {
            (ServiceAnswer::Value(value), _) => {
                let line = format!(" 0 {}\r\n", value.len());
                [b"VALUE ", &self.key[..], line.as_bytes(), value, b"\r\nEND\r\n"].concat()
            }
            (ServiceAnswer::Done, ServiceOp::Set) => b"STORED\r\n".to_vec(),
            (ServiceAnswer::Done, _) => b"DELETED\r\n".to_vec(),
            (ServiceAnswer::Missing, ServiceOp::Get) => b"END\r\n".to_vec(),
            (ServiceAnswer::Missing, ServiceOp::Set) => b"NOT_STORED\r\n".to_vec(),
            (ServiceAnswer::Missing, ServiceOp::Delete) => b"NOT_FOUND\r\n".to_vec(),
            (ServiceAnswer::Failed, _) => return None,
        })
    }
}

/// Operation, key and value.
fn parts(text: &[u8]) -> Option<(ServiceOp, &[u8], &[u8])> {
    let text = text.strip_suffix(b"\r\n")?;
    if let Some(key) = text.strip_prefix(b"get ") {
        return Some((ServiceOp::Get, key, &[]));
    }
    if let Some(key) = text.strip_prefix(b"delete ") {
        return Some((ServiceOp::Delete, key, &[]));
    }
    let rest = text.strip_prefix(b"set ")?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, value) = (&rest[..end], &rest[end + 2..]);
    let key_end = line.iter().position(|&byte| byte == b' ')?;
    let (key, numbers) = line.split_at(key_end);
    let expected = format!(" 0 0 {}", value.len());
    (numbers == expected.as_bytes()).then_some((ServiceOp::Set, key, value))
}

#[cfg(test)]
mod tests {
    use lambdac_mir::ServiceOp;

    use super::Command;
    use crate::testing::ServiceAnswer;

    #[test]
    fn commands_are_read_and_anything_else_is_wrong() {
        let get = Command::read(b"get k\r\n").unwrap();
        assert_eq!((get.op, &*get.key), (ServiceOp::Get, &b"k"[..]));
        let set = Command::read(b"set k 0 0 3\r\na\r\n\r\n").unwrap();
        assert_eq!(
            (set.op, &*set.key, &*set.value),
            (ServiceOp::Set, &b"k"[..], &b"a\r\n"[..])
        );
        assert_eq!(Command::read(b"delete k\r\n").unwrap().op, ServiceOp::Delete);
        for wrong in [
            &b"get k"[..],
            b"get \r\n",
            b"get a b\r\n",
            b"set k 0 0 4\r\nabc\r\n",
            b"set k 1 0 3\r\nabc\r\n",
            b"touch k\r\n",
        ] {
            assert_eq!(Command::read(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn answers_are_memcacheds_lines() {
        let get = Command::read(b"get k\r\n").unwrap();
        let text = get.answer(&ServiceAnswer::Value(b"v".to_vec())).unwrap();
        assert_eq!(text, b"VALUE k 0 1\r\nv\r\nEND\r\n");
        assert_eq!(get.answer(&ServiceAnswer::Failed), None);
    }
}

//! Messages as text files: the text format of Protocol Buffers, which `p4c` writes and reads (`.txtpb`).

use std::sync::LazyLock;

use prost_reflect::text_format::FormatOptions;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 16 << 20;

/// The definitions, for looking at messages field by field.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    DescriptorPool::decode(bytes).expect("the build wrote them")
});

/// Why a text is no message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than [`MAX_TEXT`].
    #[error("the text has {0} bytes, more than {MAX_TEXT}")]
    TooLong(usize),
    /// Not of the format, or not of the message.
    #[error("no {message}: {reason}")]
    Malformed {
        /// The message's name.
        message: String,
        /// What is wrong with it, with the place.
        reason: String,
    },
}

/// All messages, by name.
pub fn messages() -> impl Iterator<Item = MessageDescriptor> {
    POOL.all_messages()
}

fn descriptor<M: prost::Name>() -> MessageDescriptor {
    POOL.get_message_by_name(&M::full_name())
        .expect("every message is in the definitions that it was made from")
}

/// Reads a message.
///
/// # Errors
/// What is wrong with the text.
pub fn parse<M: prost::Name + Default>(text: &str) -> Result<M, Error> {
    if text.len() > MAX_TEXT {
        return Err(Error::TooLong(text.len()));
    }
    let malformed = |reason: String| Error::Malformed {
        message: M::full_name(),
        reason,
    };
    DynamicMessage::parse_text_format(descriptor::<M>(), text)
        .map_err(|error| malformed(error.to_string()))?
        .transcode_to()
        .map_err(|error| malformed(error.to_string()))
}

/// Writes a message, a field a line; the same message gives the same text.
pub fn print<M: prost::Name>(message: &M) -> String {
    let mut dynamic = DynamicMessage::new(descriptor::<M>());
    dynamic
        .transcode_from(message)
        .expect("a message is of its own definition");
    let mut text = dynamic.to_text_format_with_options(&FormatOptions::new().pretty(true));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{P4Info, Preamble, Table, match_field};

    const TABLE: &str = r#"
# A comment.
tables {
  preamble { id: 33554433 name: "ingress.pick" alias: "pick" }
  match_fields { id: 1 name: "hdr.lambda.workload" bitwidth: 32 match_type: EXACT }
  size: 1024
}
"#;

    #[test]
    fn what_p4c_writes_is_read_and_what_is_written_is_read_back() {
        let info: P4Info = parse(TABLE).unwrap();
        let table: &Table = &info.tables[0];
        let preamble: &Preamble = table.preamble.as_ref().unwrap();
        assert_eq!(
            (preamble.id, &*preamble.alias, table.size),
            (0x0200_0001, "pick", 1024)
        );
        let kind = table.match_fields[0].r#match.clone().unwrap();
        assert_eq!(
            kind,
            match_field::Match::MatchType(match_field::MatchType::Exact as i32)
        );
        assert_eq!(parse::<P4Info>(&print(&info)).unwrap(), info);
    }

    #[test]
    fn a_text_that_is_none_is_refused_with_its_message() {
        for text in [
            "tables {",
            "tabels {}",
            "tables: 3",
            "tables { size: \"x\" }",
            "\u{0}",
        ] {
            let error = parse::<P4Info>(text).unwrap_err().to_string();
            assert!(error.starts_with("no p4.config.v1.P4Info: "), "{error}");
        }
        assert!(matches!(
            parse::<P4Info>(&"#".repeat(MAX_TEXT + 1)),
            Err(Error::TooLong(_))
        ));
    }
}

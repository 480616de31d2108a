//! Reading descriptions, which may come from a user's own file.

use crate::{Device, Family, Memory, Sharing, bounds};

/// The longest description in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// The most memories of a device. (Known ones have five.)
const MAX_MEMORIES: usize = 64;
/// The memories that Micro-C has words for (NFP notes, 2.2).
const NFP_MEMORIES: [&str; 5] = ["lmem", "cls", "ctm", "imem", "emem"];

/// Why a description is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`MAX_TEXT`].
    #[error("the description has {0} bytes, more than {MAX_TEXT}")]
    TooLong(usize),
    /// Not TOML, or not of the right structure.
    #[error("{0}")]
    Toml(String),
    /// A number that makes no sense.
    #[error("{0}")]
    Value(String),
}

impl Device {
    /// Reads a description.
    ///
    /// # Errors
    /// What is wrong with it, with the place where that is known.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::TooLong(text.len()));
        }
        let device: Self = toml::from_str(text).map_err(|error| Error::Toml(error.to_string()))?;
        let numbers = toml::Value::try_from(&device).map_err(|error| Error::Toml(error.to_string()))?;
        bounds::check(&numbers).map_err(Error::Value)?;
        device.validate().map_err(Error::Value)?;
        Ok(device)
    }

    fn validate(&self) -> Result<(), String> {
        let kebab = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !kebab(&self.name) {
            return Err(format!(
                "`name` is {:?}: lower case, digits and `-` are allowed",
                self.name
            ));
        }
        if self.summary.chars().any(char::is_control) {
            return Err("there is a control character in `summary`".to_owned());
        }
        self.validate_store()?;
        self.validate_memories()?;
        self.validate_packet()?;
        self.validate_kernel()
    }

    fn validate_store(&self) -> Result<(), String> {
        let counts = self.ops.is_some() || self.items.is_some();
        let Some(store) = &self.store else {
            return match counts {
                true => Err("a device with `[ops]` or `[items]` needs a `[store]`".to_owned()),
                false => Ok(()),
            };
        };
        if self.ops.is_none() || self.items.is_none() {
            return Err("a device with a `[store]` needs `[ops]` and `[items]`".to_owned());
        }
        let words = store.words;
        if store.base_words > words {
            return Err(format!(
                "`store.base_words` is {}, more than the {words} words that there are",
                store.base_words
            ));
        }
        match (store.pooled_words, store.pooled_cores) {
            (None, None) => Ok(()),
            (Some(pooled), _) if pooled < words => Err(format!(
                "`store.pooled_words` is {pooled}, less than the {words} words that a core has alone"
            )),
            (_, Some(left)) if left > self.core.cores => Err(format!(
                "`store.pooled_cores` is {left}, more than the {} cores that there are",
                self.core.cores
            )),
            (Some(_), Some(_)) => Ok(()),
            _ => Err("`store.pooled_words` and `store.pooled_cores` stand together or not at all".to_owned()),
        }
    }

    fn validate_memories(&self) -> Result<(), String> {
        if self.memory.is_empty() {
            return Err("there is no `[[memory]]`".to_owned());
        }
        if self.memory.len() > MAX_MEMORIES {
            return Err(format!(
                "there are {} memories, more than {MAX_MEMORIES}",
                self.memory.len()
            ));
        }
        for (index, memory) in self.memory.iter().enumerate() {
            let before = &self.memory[..index];
            if !is_identifier(&memory.name) {
                return Err(format!(
                    "`memory[{index}].name` is {:?}: a letter, then letters, digits and `_` are allowed",
                    memory.name
                ));
            }
            if self.family == Family::Nfp && !NFP_MEMORIES.contains(&&*memory.name) {
                return Err(format!(
                    "`memory[{index}].name` is {:?}: a device of family nfp has {}",
                    memory.name,
                    NFP_MEMORIES.join(", ")
                ));
            }
            if before.iter().any(|other| other.name == memory.name) {
                return Err(format!("two memories are called {:?}", memory.name));
            }
            if !memory.word.is_power_of_two() {
                return Err(format!("the word of memory {:?} is no power of two", memory.name));
            }
            if let Some(nearer) = before.last()
                && memory.latency < nearer.latency
            {
                return Err(format!(
                    "`memory[{index}].latency` is {}, less than the {} of {:?} before it: the nearest stands first",
                    memory.latency, nearer.latency, nearer.name
                ));
            }
        }
        let shared = |memory: &Memory| memory.shared == Sharing::Device;
        match self.memory.iter().any(shared) {
            true => Ok(()),
            false => {
                Err("no memory has `shared = \"device\"`: what lambdas change can lie in no other".to_owned())
            }
        }
    }

    fn validate_packet(&self) -> Result<(), String> {
        match &self.packet.memory {
            Some(name) if self.memory(name).is_none() => Err(format!(
                "`packet.memory` is {name:?}: there is no memory of this name"
            )),
            None if self.family == Family::Nfp => Err(
                "`packet.memory` is missing: a device of family nfp has packets in one of its memories"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    fn validate_kernel(&self) -> Result<(), String> {
        let Some(kernel) = &self.kernel else {
            return Ok(());
        };
        let lists = [("helpers", &kernel.helpers), ("maps", &kernel.maps)];
        for (list, names) in lists {
            if let Some(name) = names.keys().find(|name| !is_identifier(name)) {
                return Err(format!(
                    "`kernel.{list}` names {name:?}: a letter, then letters, digits and `_` are allowed"
                ));
            }
        }
        Ok(())
    }
}

fn is_identifier(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(is_part)
}

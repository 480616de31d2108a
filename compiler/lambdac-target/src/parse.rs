//! Reading descriptions, which may come from a user's own file.

use crate::{Device, bounds};

/// The longest description in bytes.
pub const MAX_TEXT: usize = 1 << 20;

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
        for (name, value) in [
            ("core.cores", u64::from(self.core.cores)),
            ("core.threads", u64::from(self.core.threads)),
            ("core.clock_hz", self.core.clock_hz),
        ] {
            if value == 0 {
                return Err(format!("`{name}` is 0"));
            }
        }
        if let Some(store) = &self.store
            && store.base_words > store.words
        {
            return Err(format!(
                "`store.base_words` is {}, more than the {} words that there are",
                store.base_words, store.words
            ));
        }
        if self.memory.is_empty() {
            return Err("there is no `[[memory]]`".to_owned());
        }
        for (index, memory) in self.memory.iter().enumerate() {
            if !is_identifier(&memory.name) {
                return Err(format!(
                    "`memory[{index}].name` is {:?}: a letter, then letters, digits and `_` are allowed",
                    memory.name
                ));
            }
            if self.memory[..index].iter().any(|other| other.name == memory.name) {
                return Err(format!("two memories are called {:?}", memory.name));
            }
            if !memory.word.is_power_of_two() {
                return Err(format!("the word of memory {:?} is no power of two", memory.name));
            }
        }
        let counts = self.ops.is_some() || self.items.is_some();
        if counts && self.store.is_none() {
            return Err("a device with `[ops]` or `[items]` needs a `[store]`".to_owned());
        }
        if self.store.is_some() && (self.ops.is_none() || self.items.is_none()) {
            return Err("a device with a `[store]` needs `[ops]` and `[items]`".to_owned());
        }
        Ok(())
    }
}

fn is_identifier(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(is_part)
}

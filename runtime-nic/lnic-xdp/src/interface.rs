//! The interface that an image is attached to, as the flag says it.

use std::fmt;
use std::str::FromStr;

use crate::link::Mode;

/// Longest name of an interface (`IFNAMSIZ` less its zero).
const MAX_NAME: usize = 15;

/// `IFACE[,skb]`: which interface, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The interface.
    pub interface: String,
    /// Native unless `skb` was asked for.
    pub mode: Mode,
}

/// A text that is no [`Device`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form IFACE or IFACE,skb")]
pub struct DeviceError(String);

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let (name, mode) = match text.split_once(',') {
            None => (text, Mode::Native),
            Some((name, "skb")) => (name, Mode::Skb),
            Some(_) => return Err(DeviceError(text.to_owned())),
        };
        let legal = (1..=MAX_NAME).contains(&name.len()) && !name.contains(['/', ' ', '\0']);
        if !legal {
            return Err(DeviceError(text.to_owned()));
        }
        Ok(Self {
            interface: name.to_owned(),
            mode,
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Native => f.write_str(&self.interface),
            Mode::Skb => write!(f, "{},skb", self.interface),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_interface_and_maybe_skb() {
        let native: Device = "eth0".parse().unwrap();
        assert_eq!((native.interface.as_str(), native.mode), ("eth0", Mode::Native));
        let skb: Device = "eth0,skb".parse().unwrap();
        assert_eq!((skb.mode, skb.to_string().as_str()), (Mode::Skb, "eth0,skb"));
        for bad in [
            "",
            ",skb",
            "eth0,",
            "eth0,native",
            "eth0,skb,skb",
            "a/b",
            "a_name_of_16_byt",
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }
}

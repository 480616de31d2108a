//! `nfp:CARD`: which card.

use std::fmt;
use std::str::FromStr;

/// The RTE's port of the first card; the second has the next (NFP notes, 3.7).
const FIRST_PORT: u16 = 20206;
/// Cards that ports are known for.
const CARDS: u16 = 2;

/// A card, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    number: u16,
}

/// A text that is no [`Device`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of a card: 0 or 1")]
pub struct DeviceError(String);

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text.parse() {
            Ok(number) if number < CARDS => Ok(Self { number }),
            _ => Err(DeviceError(text.to_owned())),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl Device {
    /// Its number.
    pub fn number(self) -> u16 {
        self.number
    }

    /// The port of its run-time environment on this host.
    pub fn port(self) -> u16 {
        FIRST_PORT + self.number
    }
}

#[cfg(test)]
mod tests {
    use super::Device;

    #[test]
    fn cards_are_numbers_that_a_port_is_known_for() {
        let port = |text: &str| text.parse::<Device>().map(Device::port).ok();
        assert_eq!(["0", "1"].map(port), [Some(20206), Some(20207)]);
        assert_eq!(["", "2", "-1", "eth0", "0,1"].map(port), [None; 5]);
    }
}

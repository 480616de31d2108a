//! What `--nic bmv2:…` says: where a switch is, and which.

use std::fmt;
use std::str::FromStr;

/// The port of a switch's Thrift server unless it is started with another (behavioral-model, `targets/README.md`).
const THRIFT: u16 = 9090;
/// The election number unless another is wanted: any other controller with a higher one is the primary.
const ELECTION: u128 = 1;

/// `HOST:PORT[,device=N][,thrift=PORT][,election=N]`: a switch's P4Runtime server and the number of its device; where its
/// registers are read; and by which number it is asked to obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The switch's host.
    pub host: String,
    /// The port of its P4Runtime server.
    pub port: u16,
    /// The number that the switch was started with (`--device-id`).
    pub device: u64,
    /// The port of its Thrift server, on the same host.
    pub thrift: u16,
    /// The election number.
    pub election: u128,
}

/// A text that is no [`Device`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form HOST:PORT[,device=N][,thrift=PORT][,election=N]")]
pub struct DeviceError(String);

impl Device {
    /// Where the P4Runtime server is.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn set(&mut self, option: &str) -> Option<()> {
        match option.split_once('=')? {
            ("device", number) => self.device = number.parse().ok()?,
            ("thrift", port) => self.thrift = port.parse().ok()?,
            ("election", number) => self.election = number.parse().ok().filter(|number| *number > 0)?,
            _ => return None,
        }
        Some(())
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let mut parts = text.split(',');
        let place = parts.next().and_then(|place| place.rsplit_once(':'));
        let parsed = place.and_then(|(host, port)| {
            let legal = !host.is_empty() && !host.contains(['/', ' ', '@']);
            let mut device = Self {
                host: host.to_owned(),
                port: port.parse().ok().filter(|_| legal)?,
                device: 0,
                thrift: THRIFT,
                election: ELECTION,
            };
            parts.try_for_each(|option| device.set(option))?;
            Some(device)
        });
        parsed.ok_or_else(|| DeviceError(text.to_owned()))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{},device={}", self.host, self.port, self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_options_in_any_order() {
        let plain: Device = "127.0.0.1:9559".parse().unwrap();
        assert_eq!((plain.device, plain.thrift, plain.election), (0, 9090, 1));
        assert_eq!(plain.address(), "127.0.0.1:9559");
        let all: Device = "[::1]:1,election=7,device=3,thrift=99".parse().unwrap();
        assert_eq!((&*all.host, all.port, all.device), ("[::1]", 1, 3));
        assert_eq!((all.thrift, all.election), (99, 7));
        for bad in [
            "",
            "host",
            ":1",
            "h:x",
            "h:1,",
            "h:1,device",
            "h:1,device=-1",
            "h:1,ports=2",
            "h:1,election=0",
            "a b:1",
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }
}

//! The card's own tools. Each argument as in the project's notes on the NFP, sections 2.7 and 3.7; what those mark as not
//! sure is marked here too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lambdac_driver::nfp::Rule;

use super::{Card, CardError, Count, Device, Result, output, process};

/// Of the run-time environment.
const RTECLI: &str = "rtecli";
/// Of the board-support package.
const RTSYM: &str = "nfp-rtsym";
/// Where the tools are, beside PATH (NFP notes, 3.4: the SDK's usual place).
const FOLDERS: [&str; 2] = ["/opt/netronome/p4/bin", "/opt/netronome/bin"];
/// A call that changes or reads something small.
const CALL: Duration = Duration::from_secs(10);
/// Loading a design: λ-NIC speaks of about 20 seconds.
const LOAD: Duration = Duration::from_secs(180);
/// Building one, by the SDK.
const BUILD: Duration = Duration::from_secs(3600);
/// Words that one call writes, and bytes that one reads.
const WRITE_WORDS: usize = 64;
const READ_BYTES: u64 = 64 << 10;

/// The tools of a card that were found.
#[derive(Clone, Debug)]
pub struct Tools {
    device: Device,
    /// Where tools look for others.
    path: OsString,
    rtecli: PathBuf,
    rtsym: PathBuf,
}

impl Tools {
    /// Looks for the tools on the path, and where the vendor puts them.
    ///
    /// # Errors
    /// Which one is missing.
    pub fn find(device: Device) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::find_in(device, &path)
    }

    /// As [`Tools::find`], on another path.
    ///
    /// # Errors
    /// Which one is missing.
    pub fn find_in(device: Device, path: &OsString) -> Result<Self> {
        let find = |name: &str, of: &str| {
            let folders = std::env::split_paths(path).chain(FOLDERS.map(PathBuf::from));
            let mut files = folders.map(|folder| folder.join(name));
            files.find(|file| file.is_file()).ok_or_else(|| {
                let places = FOLDERS.join(" or ");
                CardError::Missing(format!("{name}, of {of}: neither on PATH nor in {places}"))
            })
        };
        Ok(Self {
            device,
            path: path.clone(),
            rtecli: find(RTECLI, "the card's run-time environment (nfp-sdk6-rte)")?,
            rtsym: find(RTSYM, "the card's board-support package")?,
        })
    }

    /// `rtecli -p PORT …`
    fn rtecli<I: IntoIterator<Item = S>, S: Into<OsString>>(
        &self,
        args: I,
        within: Duration,
    ) -> Result<String> {
        let mut command = Command::new(&self.rtecli);
        command.arg("-p").arg(self.device.port().to_string());
        command.args(args.into_iter().map(Into::into));
        process::run(command, RTECLI, within)
    }

    /// `tables -t T -r NAME -m JSON -a JSON add` or `… delete`
    fn rule(&self, rule: &Rule, verb: &str) -> Result<()> {
        let json = |error: serde_json::Error| CardError::Odd {
            tool: RTECLI.to_owned(),
            what: error.to_string(),
        };
        let (table, name) = (rule.table_name(), rule.name.clone());
        let (keys, action) = (
            rule.match_json().map_err(json)?,
            rule.action_json().map_err(json)?,
        );
        let args = [
            "tables", "-t", &table, "-r", &name, "-m", &keys, "-a", &action, verb,
        ];
        self.rtecli(args, CALL).map(|_| ())
    }

    /// `nfp-rtsym -vl LEN _sym:OFFSET [values…]`: symbols of C have a leading underscore. That `-n` says which card, as
    /// with `nfp-nffw`, is assumed, and that LEN is bytes.
    fn rtsym(&self, symbol: &str, offset: u64, len: u64, values: &[String]) -> Result<String> {
        let mut command = Command::new(&self.rtsym);
        if self.device.number() > 0 {
            command.arg("-n").arg(self.device.number().to_string());
        }
        command
            .arg("-vl")
            .arg(len.to_string())
            .arg(format!("_{symbol}:{offset}"));
        command.args(values);
        process::run(command, RTSYM, CALL)
    }
}

impl Card for Tools {
    fn build(&self, folder: &Path) -> Result<()> {
        let mut command = Command::new("sh");
        command
            .arg(folder.join("build.sh"))
            .current_dir(folder)
            .env("PATH", &self.path);
        process::run(command, "build.sh", BUILD).map(|_| ())
    }

    /// `design-load -f F.nffw -p pif_design.json -c F.p4cfg`
    fn load(&self, firmware: &Path, design: &Path, config: &Path) -> Result<()> {
        let [firmware, design, config] = [firmware, design, config].map(|path| path.as_os_str().to_owned());
        let [load, f, p, c] = ["design-load", "-f", "-p", "-c"].map(OsString::from);
        self.rtecli([load, f, firmware, p, design, c, config], LOAD)
            .map(|_| ())
    }

    fn add_rule(&self, rule: &Rule) -> Result<()> {
        self.rule(rule, "add")
    }

    fn delete_rule(&self, rule: &Rule) -> Result<()> {
        self.rule(rule, "delete")
    }

    /// `--json registers -r R -i N -c n get`
    fn register(&self, name: &str, index: u32, count: u32) -> Result<Vec<u64>> {
        let (index, number) = (index.to_string(), count.to_string());
        let args = [
            "--json",
            "registers",
            "-r",
            name,
            "-i",
            &index,
            "-c",
            &number,
            "get",
        ];
        output::numbers(RTECLI, &self.rtecli(args, CALL)?, count as usize)
    }

    /// `--json counters list`
    fn counters(&self) -> Result<Vec<Count>> {
        output::counters(RTECLI, &self.rtecli(["--json", "counters", "list"], CALL)?)
    }

    fn read(&self, symbol: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let at = bytes.len() as u64;
            let part = (len - at).min(READ_BYTES);
            let text = self.rtsym(symbol, offset + at, part, &[])?;
            bytes.extend(output::memory(RTSYM, &text, part as usize)?);
        }
        Ok(bytes)
    }

    fn write(&self, symbol: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let words: Vec<String> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| format!("0x{:08x}", u32::from_be_bytes(*word)))
            .collect();
        for (index, words) in words.chunks(WRITE_WORDS).enumerate() {
            let at = offset + (index * WRITE_WORDS * 4) as u64;
            self.rtsym(symbol, at, words.len() as u64 * 4, words)?;
        }
        Ok(())
    }
}

//! Where p4c and simple_switch are, and p4c's work.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The compiler's name, and the variable that says where it is.
const P4C: (&str, &str) = ("p4c-bm2-ss", "P4C");
/// The switch's name, and the variable that says where it is.
const SWITCH: (&str, &str) = ("simple_switch", "SIMPLE_SWITCH");

/// Longest time for p4c: the largest programs of the examples take it some ten seconds.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a process that runs is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Most bytes that are read of what p4c says.
const MOST_SAID: u64 = 64 << 10;

/// Both tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// p4c's back end for bmv2.
    pub p4c: PathBuf,
    /// The switch.
    pub switch: PathBuf,
}

/// Why p4c gave no program for the switch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A file can't be written, or p4c not be started.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// p4c said something: an error, or a warning where there should be none.
    #[error("p4c says: {0}")]
    Said(String),
    /// It was not done in time, and was ended.
    #[error("p4c was not done in {0:?}")]
    Late(Duration),
}

impl Tools {
    /// Looks for them: where `P4C` and `SIMPLE_SWITCH` say, else on the path.
    ///
    /// # Errors
    /// What was not found.
    pub fn find() -> Result<Self, String> {
        Ok(Self {
            p4c: found(P4C)?,
            switch: found(SWITCH)?,
        })
    }

    /// The versions that the tools say they have, a line each.
    pub fn versions(&self) -> String {
        let said = |(tool, path): (&str, &Path)| {
            let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
            // p4c says it where errors go.
            let text = output.map(|output| [output.stdout, output.stderr].concat());
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            let version = version(&text).unwrap_or("of a version that it does not tell");
            format!("{tool} {version}\n")
        };
        [(P4C.0, &*self.p4c), (SWITCH.0, &*self.switch)]
            .map(said)
            .concat()
    }

    /// As [`compile`], with this p4c.
    ///
    /// # Errors
    /// If p4c refuses it, or warns.
    pub fn compile(&self, program: &str, folder: &Path) -> Result<PathBuf, CompileError> {
        compile(&self.p4c, program, folder)
    }
}

/// p4c alone: where `P4C` says, else on the path.
///
/// # Errors
/// That it was not found.
pub fn p4c() -> Result<PathBuf, String> {
    found(P4C)
}

/// What p4c makes of a program, for the switch; none where there is no p4c.
///
/// # Errors
/// If p4c is not where `P4C` says, or [`compile`] fails.
pub fn translate(program: &str) -> Result<Option<Vec<u8>>, String> {
    let p4c = match p4c() {
        Ok(p4c) => p4c,
        Err(missing) if env::var_os(P4C.1).is_some() => return Err(missing),
        Err(_) => return Ok(None),
    };
    let text = |error: io::Error| error.to_string();
    let folder = tempfile::TempDir::new().map_err(text)?;
    let json = compile(&p4c, program, folder.path()).map_err(|error| error.to_string())?;
    fs::read(json).map(Some).map_err(text)
}

/// Compiles a program into `folder`; gives the file for the switch, which does not name the folder.
///
/// # Errors
/// If p4c refuses it, or warns.
pub fn compile(p4c: &Path, program: &str, folder: &Path) -> Result<PathBuf, CompileError> {
    let (source, json) = (folder.join("image.p4"), folder.join("image.json"));
    fs::write(&source, program)?;
    let mut command = Command::new(std::path::absolute(p4c)?);
    command.args(["--std", "p4-16", "--p4runtime-files", "p4c.p4info.txtpb"]);
    command.args(["-o", "image.json", "image.p4"]).current_dir(folder);
    // A file takes all that it says, where a pipe could fill up.
    let said = folder.join("p4c.log");
    command.stdin(Stdio::null()).stderr(File::create(&said)?);
    command.stdout(Stdio::null());
    let status = ended(command.spawn()?, PATIENCE)?.ok_or(CompileError::Late(PATIENCE))?;
    let mut text = Vec::new();
    File::open(&said)?.take(MOST_SAID).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    if !status.success() || !text.trim().is_empty() {
        return Err(CompileError::Said(text.into_owned()));
    }
    Ok(json)
}

/// The first word of a text that is a version: numbers and points.
fn version(text: &str) -> Option<&str> {
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c == '.' || c.is_ascii_digit());
    text.split_whitespace().find(is_version)
}

/// How a process ends; none: it did not in time, and is gone.
fn ended(mut process: Child, within: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            process.kill()?;
            process.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

fn found((name, variable): (&str, &str)) -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(variable).map(PathBuf::from) {
        return match path.is_file() {
            true => Ok(path),
            false => Err(format!("{variable} says {}, which is no file", path.display())),
        };
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let candidates = env::split_paths(&folders).map(|folder| folder.join(name));
    let mut files = candidates.filter(|path| path.is_file());
    files.next().ok_or_else(|| format!("{name} not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        let p4c = "/usr/bin/p4c-bm2-ss\nVersion 1.2.5.16 (SHA: 34b86e9bac BUILD: Release)\n";
        assert_eq!(
            (version(p4c), version("1.15.5\n")),
            (Some("1.2.5.16"), Some("1.15.5"))
        );
        assert_eq!(version("no such option"), None);
    }

    #[test]
    fn a_process_that_is_not_done_in_time_is_ended() {
        let sleep = |seconds: &str| Command::new("sleep").arg(seconds).spawn().unwrap();
        let started = Instant::now();
        assert_eq!(ended(sleep("600"), Duration::from_millis(20)).unwrap(), None);
        assert!(started.elapsed() < Duration::from_secs(300));
        let status = ended(sleep("0"), PATIENCE).unwrap();
        assert!(status.is_some_and(|status| status.success()));
    }
}

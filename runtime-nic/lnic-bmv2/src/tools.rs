//! Where p4c and simple_switch are, and p4c's work.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The compiler's name, and the variable that says where it is.
const P4C: (&str, &str) = ("p4c-bm2-ss", "P4C");
/// The switch's name, and the variable that says where it is.
const SWITCH: (&str, &str) = ("simple_switch", "SIMPLE_SWITCH");

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

/// Compiles a program into `folder`; gives the file for the switch.
///
/// # Errors
/// If p4c refuses it, or warns.
pub fn compile(p4c: &Path, program: &str, folder: &Path) -> Result<PathBuf, CompileError> {
    let (source, json) = (folder.join("image.p4"), folder.join("image.json"));
    fs::write(&source, program)?;
    let mut command = Command::new(p4c);
    command.args(["--std", "p4-16", "--p4runtime-files"]);
    command.arg(folder.join("p4c.p4info.txtpb"));
    command.arg("-o").arg(&json).arg(&source);
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !said.trim().is_empty() {
        return Err(CompileError::Said(said.into_owned()));
    }
    Ok(json)
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

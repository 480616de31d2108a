//! Compilers of C on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::{Error, Result, io};

/// What emitted C must compile with: the flags that stand in the project's contract for it.
pub const STRICT: [&str; 7] = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-std=gnu90",
    "-Wdeclaration-after-statement",
    "-Wvla",
    "-Wno-unknown-pragmas",
];

/// A compiler that was found.
#[derive(Clone, Debug)]
pub struct Toolchain {
    name: String,
    path: PathBuf,
    /// What all units have around them, by how it was compiled: the object, and the folder that it is in.
    common: Arc<Mutex<BTreeMap<Build, (TempDir, PathBuf)>>>,
}

/// How to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Build {
    /// To run under the address and undefined-behaviour sanitizers. Not optimised: a unit runs few requests, and compiling
    /// it takes most of the time.
    Checked,
    /// To run without sanitizers, which take most of the time in which a unit is compiled.
    Plain,
    /// For size.
    Small,
    /// For size, without gcc's folding of functions that are alike, which does a linker's part of what coalescing does.
    Unfolded,
}

impl Toolchain {
    /// A compiler by its name, if it is on the path.
    pub fn find(name: &str) -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let found = std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())?;
        Some(Self {
            name: name.to_owned(),
            path: found,
            common: Arc::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compiles a file to an object.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn object(
        &self,
        source: &Path,
        include: &[&Path],
        build: &Build,
        strict: bool,
        to: &Path,
    ) -> Result<()> {
        let mut command = self.command(build);
        if strict {
            command.args(STRICT);
        }
        for folder in include {
            command.arg("-I").arg(folder);
        }
        command.arg("-c").arg(source).arg("-o").arg(to);
        self.run(command)
    }

    /// An object that all units share, compiled once for all clones of this: `compile` puts it into a folder.
    pub(crate) fn common(
        &self,
        build: Build,
        compile: impl FnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        let mut common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, object)) = common.get(&build) {
            return Ok(object.clone());
        }
        let folder = TempDir::new().map_err(io("making a folder"))?;
        let object = compile(folder.path())?;
        common.insert(build, (folder, object.clone()));
        Ok(object)
    }

    /// Links objects to a program.
    ///
    /// # Errors
    /// What the linker says.
    pub fn link(&self, objects: &[&Path], build: &Build, to: &Path) -> Result<()> {
        let mut command = self.command(build);
        command.args(objects).arg("-o").arg(to);
        self.run(command)
    }

    fn command(&self, build: &Build) -> Command {
        let mut command = Command::new(&self.path);
        match build {
            Build::Checked => command.args([
                "-O0",
                "-g1",
                "-fsanitize=address,undefined",
                "-fno-sanitize-recover=all",
            ]),
            Build::Plain => command.arg("-O0"),
            Build::Small => command.arg("-Os"),
            Build::Unfolded => command.args(["-Os", "-fno-ipa-icf"]),
        };
        command
    }

    fn run(&self, mut command: Command) -> Result<()> {
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(io(&format!("running {}", self.name)))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Compiler {
            compiler: self.name.clone(),
            text: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

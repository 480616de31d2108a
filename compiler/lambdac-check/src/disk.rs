//! Sources from the file system: the one part of this crate that reads files, for those who compile what lies in
//! folders. Every size and depth is bounded, and no `include` leads out of its source's folder.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Sources;

/// Bytes of a source that are read: one more than are allowed (language, section 10), which the front end then reports.
const MAX_SOURCE: u64 = (4 << 20) + 1;
/// Bytes of an `include` that are read, by the same rule.
const MAX_INCLUDE: u64 = (1 << 20) + 1;
/// Folders below each other that are searched.
const MAX_DEPTH: usize = 64;

/// Finds the `.lnic` files of the arguments: files as they are, folders searched, in order of name. Hidden folders and
/// links to folders are left out.
///
/// # Errors
/// If one isn't there or can't be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            search(path, 0, &mut found)?;
        } else if path.exists() {
            found.push(path.clone());
        } else {
            return Err(format!("{}: no such file or directory", path.display()));
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|path| seen.insert(path.clone()));
    if found.is_empty() {
        return Err("no .lnic file found".into());
    }
    Ok(found)
}

fn search(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("{}: folders nest too deeply", dir.display()));
    }
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|e| format!("{}: {e}", dir.display()))?.path());
    }
    paths.sort();
    for path in paths {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !path.is_symlink() && !hidden {
            search(&path, depth + 1, found)?;
        } else if path.extension().is_some_and(|ext| ext == "lnic") && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads a source.
///
/// # Errors
/// If it can't be read; the text names it.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_bounded(path, MAX_SOURCE).map_err(|e| format!("{}: {e}", path.display()))
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `use` and `include` from beside the file that names them.
#[derive(Debug, Default)]
pub struct Disk {
    /// What was looked for, found or not.
    pub wanted: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Disk {
    fn note(&self, path: &Path) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.insert(path.to_path_buf());
    }
}

fn folder(of: &str) -> PathBuf {
    match Path::new(of).parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

impl Sources for Disk {
    fn library(&self, from: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let path = folder(from).join(format!("{name}.lnic"));
        self.note(&path);
        match read_bounded(&path, MAX_SOURCE) {
            Ok(bytes) => Ok(Some((path.display().to_string(), bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    fn include(&self, from: &str, relative: &str) -> Result<Vec<u8>, String> {
        let relative = Path::new(relative);
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err("the path must be relative, without `..`".into());
        }
        self.note(&folder(from).join(relative));
        let root = folder(from).canonicalize().map_err(|e| e.to_string())?;
        let path = root.join(relative).canonicalize().map_err(|e| e.to_string())?;
        if !path.starts_with(&root) {
            return Err("a link leads out of the source's folder".into());
        }
        if !path.is_file() {
            return Err("not a file".into());
        }
        read_bounded(&path, MAX_INCLUDE).map_err(|e| e.to_string())
    }
}

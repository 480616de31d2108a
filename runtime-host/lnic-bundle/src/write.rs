//! Writing a bundle. The same files give the same bytes: names are sorted, times, owners and modes are fixed.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Files, MANIFEST, Manifest};

/// The hash of a file as the manifest writes it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Fills in the hashes of `files` and adds the manifest to them.
pub fn with_hashes(mut manifest: Manifest, mut files: Files) -> Files {
    files.remove(MANIFEST);
    manifest.files = files
        .iter()
        .map(|(name, bytes)| (name.clone(), sha256(bytes)))
        .collect();
    // Strings, numbers and maps with string keys always have a JSON form.
    let mut json = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    json.push(b'\n');
    files.insert(MANIFEST.into(), json);
    files
}

/// Writes the files below `dir`, which is made if it isn't there. Other files in it are left alone.
///
/// # Errors
/// If a folder or file can't be written.
pub fn write_dir(files: &Files, dir: &Path) -> io::Result<()> {
    for (name, bytes) in files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// The files as a tar.
///
/// # Errors
/// If a name is too long for a tar header.
pub fn to_tar(files: &Files) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Deterministic);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    builder.into_inner()
}

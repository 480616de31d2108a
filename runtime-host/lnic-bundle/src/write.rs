//! Writing a bundle. The same files give the same bytes: names are sorted, times, owners and modes are fixed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::read::check_name;
use crate::{Files, MANIFEST, Manifest};

/// Bytes of a manifest that are read.
const MAX_MANIFEST: u64 = 64 << 20;

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

/// Writes the files below `dir`, which is made if it isn't there. Files of a bundle that was there before go, so that what
/// is there is a bundle; others are left alone.
///
/// # Errors
/// If a folder or file can't be written.
pub fn write_dir(files: &Files, dir: &Path) -> io::Result<()> {
    let gone = files_before(dir).into_iter();
    for name in gone.filter(|name| !files.contains_key(name)) {
        std::fs::remove_file(dir.join(name))?;
    }
    for (name, bytes) in files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// Files of the bundle in a folder, if there is one: those that its manifest lists, and that are what it says still.
fn files_before(dir: &Path) -> Vec<String> {
    let mut json = Vec::new();
    let read = File::open(dir.join(MANIFEST)).and_then(|file| file.take(MAX_MANIFEST).read_to_end(&mut json));
    let Ok(manifest) = read
        .map_err(drop)
        .and_then(|_| serde_json::from_slice::<Manifest>(&json).map_err(drop))
    else {
        return Vec::new();
    };
    let unchanged = |(name, hash): &(String, String)| {
        check_name(name).is_ok() && std::fs::read(dir.join(name)).is_ok_and(|bytes| sha256(&bytes) == *hash)
    };
    let files = manifest.files.into_iter().filter(unchanged);
    files.map(|(name, _)| name).collect()
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

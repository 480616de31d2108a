//! A bundle in one file: reading a tar that nobody vouches for.
//!
//! Plain files and folders are taken, with GNU's long names (all that [`crate::to_tar`] writes) and without the
//! extended headers of pax, which say nothing that a bundle needs. Links, devices and sparse files are refused. No size
//! in the archive is believed: memory is taken for bytes that are there, within the limits.

use std::io::Read;

use tar::EntryType;

use crate::Files;
use crate::read::{Collector, Error, Limits, MAX_NAME};

/// Bytes of an archive for each file beside its contents: header, long name with a header of its own, padding.
const PER_FILE: u64 = 4 * 512;
/// Bytes of an archive that has no files: what ends it, padded to a record as `tar` does.
const AT_LEAST: u64 = 20 * 512;

/// Reads the files of a tar. What they hold is not looked into: that is for [`crate::from_files`].
///
/// # Errors
/// If the archive is malformed, cut off or larger than the limits, or holds anything but plain files and folders.
pub fn from_tar(tar: impl Read, limits: Limits) -> Result<Files, Error> {
    let most = limits.bytes + PER_FILE * limits.files as u64 + AT_LEAST;
    let mut bounded = tar.take(most);
    let files = read_entries(&mut bounded, limits);
    match files {
        // The archive went on where we stopped, so what follows from its end is no matter.
        _ if bounded.limit() == 0 => Err(Error::TooLarge("too many bytes in the archive")),
        files => files,
    }
}

fn read_entries(tar: &mut impl Read, limits: Limits) -> Result<Files, Error> {
    let mut archive = tar::Archive::new(tar);
    let mut collector = Collector::new(limits);
    let mut long_name = None;
    for entry in archive.entries().map_err(Error::Archive)?.raw(true) {
        let entry = entry.map_err(Error::Archive)?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(read_name(entry)?),
            // Extended headers, whose times and owners are of no use here.
            EntryType::XHeader | EntryType::XGlobalHeader => {}
            kind => {
                let name = match long_name.take() {
                    Some(name) => name,
                    None => text(&entry.path_bytes())?,
                };
                let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
                match kind {
                    EntryType::Directory => {}
                    EntryType::Regular => take_file(&mut collector, name, entry)?,
                    _ => return Err(Error::NotAFile(name)),
                }
            }
        }
    }
    Ok(collector.into_files())
}

fn take_file(collector: &mut Collector, name: String, entry: tar::Entry<'_, impl Read>) -> Result<(), Error> {
    let size = entry.header().size().map_err(Error::Archive)?;
    let taken = collector.add(&name, entry, Error::Archive)?;
    if taken < size {
        return Err(Error::CutOff(name));
    }
    Ok(())
}

/// The name that stands in an entry of its own, with a zero at its end.
fn read_name(entry: tar::Entry<'_, impl Read>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    // One byte more than a name may have, and its zero: enough to see that it is too long.
    let read = entry.take(MAX_NAME as u64 + 2).read_to_end(&mut bytes);
    read.map_err(Error::Archive)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    text(&bytes)
}

fn text(name: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(name);
    text.map(str::to_owned)
        .map_err(|_| Error::BadName(String::from_utf8_lossy(name).into_owned()))
}

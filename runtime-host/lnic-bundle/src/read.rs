//! Reading a bundle that nobody vouches for.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::archive::from_tar;
use crate::write::sha256;
use crate::{Files, MANIFEST, Manifest, SCHEMA};

/// Bytes of a file's name at most.
pub(crate) const MAX_NAME: usize = 255;
/// Parts of a file's name at most: its folders and its own.
const MAX_PARTS: usize = 8;

/// What a bundle may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Number of files.
    pub files: usize,
}

impl Default for Limits {
    /// 256 MiB in 20,000 files: ten thousand workloads with a host object.
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            files: 20_000,
        }
    }
}

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It can't be read.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tar can't be read.
    #[error("the archive is malformed")]
    Archive(#[source] io::Error),
    /// The tar ends within a file.
    #[error("{0:?} is cut off")]
    CutOff(String),
    /// Two files of one name.
    #[error("{0:?} stands twice")]
    Twice(String),
    /// It is larger than the limits.
    #[error("the bundle is too large: {0}")]
    TooLarge(&'static str),
    /// A file name that leaves the bundle, or is no plain relative path.
    #[error("bad file name {0:?}")]
    BadName(String),
    /// Something that is neither a file nor a folder, such as a link.
    #[error("{0:?} is neither a file nor a folder")]
    NotAFile(String),
    /// There is no manifest.
    #[error("manifest.json is missing")]
    NoManifest,
    /// The manifest is no JSON of the schema.
    #[error("manifest.json is malformed: {0}")]
    BadManifest(#[source] serde_json::Error),
    /// A schema of another version.
    #[error("manifest.json has schema {0}, this version reads {SCHEMA}")]
    BadSchema(u32),
    /// A file that the manifest names is not there.
    #[error("{0:?} is missing")]
    MissingFile(String),
    /// A file that the manifest does not name.
    #[error("{0:?} is not in the manifest")]
    UnknownFile(String),
    /// A file's contents are not what the manifest says.
    #[error("{0:?} has another sha256 than the manifest says")]
    BadHash(String),
    /// A workload that can't be.
    #[error("workload {name:?}: {what}")]
    BadWorkload {
        /// Its name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// A bundle whose manifest and files agree.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The manifest.
    pub manifest: Manifest,
    /// All files but the manifest.
    pub files: Files,
}

/// Reads a directory or a tar.
///
/// # Errors
/// If it can't be read, is too large, or is not whole.
pub fn read(path: &Path, limits: Limits) -> Result<Bundle, Error> {
    let files = if path.is_dir() {
        read_dir(path, limits)?
    } else {
        read_tar(path, limits)?
    };
    from_files(files)
}

/// Collects files within the limits.
pub(crate) struct Collector {
    limits: Limits,
    files: Files,
}

impl Collector {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            files: Files::new(),
        }
    }

    /// Takes a file; gives how many bytes it has.
    pub(crate) fn add(
        &mut self,
        name: &str,
        reader: impl Read,
        unreadable: impl FnOnce(io::Error) -> Error,
    ) -> Result<u64, Error> {
        check_name(name)?;
        if self.files.len() == self.limits.files {
            return Err(Error::TooLarge("too many files"));
        }
        if self.files.contains_key(name) {
            return Err(Error::Twice(name.to_owned()));
        }
        let mut bytes = Vec::new();
        let read = reader.take(self.limits.bytes + 1).read_to_end(&mut bytes);
        read.map_err(unreadable)?;
        let taken = bytes.len() as u64;
        let Some(left) = self.limits.bytes.checked_sub(taken) else {
            return Err(Error::TooLarge("too many bytes"));
        };
        self.limits.bytes = left;
        self.files.insert(name.to_owned(), bytes);
        Ok(taken)
    }

    pub(crate) fn into_files(self) -> Files {
        self.files
    }
}

/// A plain relative path of at most 255 bytes and 8 folders.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if name.len() > MAX_NAME || parts.len() > MAX_PARTS || !parts.iter().all(plain) {
        return Err(Error::BadName(name.to_owned()));
    }
    Ok(())
}

fn read_dir(root: &Path, limits: Limits) -> Result<Files, Error> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    };
    let mut collector = Collector::new(limits);
    let mut folders = vec![String::new()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let dir = root.join(&folder);
        for entry in std::fs::read_dir(&dir).map_err(io(&dir))? {
            let entry = entry.map_err(io(&dir))?;
            seen += 1;
            if seen > 2 * limits.files {
                return Err(Error::TooLarge("too many files"));
            }
            let own = entry.file_name().to_string_lossy().into_owned();
            let name = if folder.is_empty() {
                own
            } else {
                format!("{folder}/{own}")
            };
            check_name(&name)?;
            let kind = entry.file_type().map_err(io(&entry.path()))?;
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() {
                let file = std::fs::File::open(entry.path()).map_err(io(&entry.path()))?;
                collector.add(&name, file, io(&entry.path()))?;
            } else {
                return Err(Error::NotAFile(name));
            }
        }
    }
    Ok(collector.into_files())
}

fn read_tar(path: &Path, limits: Limits) -> Result<Files, Error> {
    let file = std::fs::File::open(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
    from_tar(file, limits)
}

/// Checks that files are a whole bundle.
///
/// # Errors
/// If the manifest is missing or wrong, or files and manifest disagree.
pub fn from_files(mut files: Files) -> Result<Bundle, Error> {
    let json = files.remove(MANIFEST).ok_or(Error::NoManifest)?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(Error::BadManifest)?;
    if manifest.schema != SCHEMA {
        return Err(Error::BadSchema(manifest.schema));
    }
    for (name, hash) in &manifest.files {
        check_name(name)?;
        let bytes = files.get(name).ok_or_else(|| Error::MissingFile(name.clone()))?;
        if sha256(bytes) != *hash {
            return Err(Error::BadHash(name.clone()));
        }
    }
    if let Some(name) = files.keys().find(|name| !manifest.files.contains_key(*name)) {
        return Err(Error::UnknownFile(name.clone()));
    }
    check_workloads(&manifest)?;
    Ok(Bundle { manifest, files })
}

fn check_workloads(manifest: &Manifest) -> Result<(), Error> {
    let mut before: Option<&str> = None;
    for workload in &manifest.workloads {
        let bad = |what| {
            Err(Error::BadWorkload {
                name: workload.name.clone(),
                what,
            })
        };
        if before.is_some_and(|before| before >= workload.name.as_str()) {
            return bad("names are not sorted, or one stands twice");
        }
        before = Some(&workload.name);
        if !manifest
            .files
            .contains_key(&format!("workloads/{}.mir", workload.name))
        {
            return bad("its .mir file is missing");
        }
        if workload.id & 0xffff == 0 {
            return bad("index 0 is never given");
        }
        let messages = workload
            .lambdas
            .iter()
            .flat_map(|lambda| [&lambda.request, &lambda.reply]);
        if messages
            .chain([&workload.request, &workload.reply])
            .any(|m| m.min > m.max || m.max > 1 << 20)
        {
            return bad("a message size is out of range");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, Workload, to_tar, with_hashes, write_dir};

    fn sample() -> Files {
        let message = Message {
            ty: "bytes<8>".into(),
            min: 0,
            max: 8,
        };
        let workload = Workload {
            name: "web".into(),
            id: 0x1234_0001,
            request: message.clone(),
            reply: message,
            fragment: 1344,
            lambdas: Vec::new(),
            state: Vec::new(),
            services: Vec::new(),
            params: Vec::new(),
        };
        let targets = vec!["host".to_owned()];
        let manifest = Manifest {
            schema: SCHEMA,
            workloads: vec![workload],
            targets,
            files: Default::default(),
        };
        let files = [
            ("workloads/web.mir", &b"module web"[..]),
            ("host/image.o", b"\x7fELF"),
        ];
        with_hashes(
            manifest,
            files
                .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
                .into(),
        )
    }

    fn edit(change: impl FnOnce(&mut Files)) -> String {
        let mut files = sample();
        change(&mut files);
        from_files(files)
            .map(|_| ())
            .expect_err("a broken bundle is refused")
            .to_string()
    }

    fn edit_manifest(from: &str, to: &str) -> String {
        edit(|files| {
            let json = String::from_utf8(files[MANIFEST].clone()).expect("JSON is UTF-8");
            assert!(json.contains(from), "{json}");
            files.insert(MANIFEST.into(), json.replace(from, to).into_bytes());
        })
    }

    #[test]
    fn a_bundle_reads_back_from_a_directory_and_from_a_tar() {
        let folder = tempfile::tempdir().expect("there are temporary folders");
        let dir = folder.path();
        let files = sample();
        write_dir(&files, &dir.join("tree")).expect("the temporary folder is writable");
        std::fs::write(dir.join("image.tar"), to_tar(&files).expect("names are short")).expect("writable");
        let tree = read(&dir.join("tree"), Limits::default()).expect("it is whole");
        let tar = read(&dir.join("image.tar"), Limits::default()).expect("it is whole");
        assert_eq!(tree.files, tar.files);
        assert_eq!(tree.manifest, tar.manifest);
        assert_eq!(tree.files.len(), 2);
    }

    #[test]
    fn a_bundle_replaces_the_one_before_and_leaves_other_files() {
        let folder = tempfile::tempdir().expect("there are temporary folders");
        let dir = folder.path();
        let mut before = sample();
        before.insert("mir/gone.mir".into(), b"gone".to_vec());
        before.insert("mir/mine.mir".into(), b"edited later".to_vec());
        let manifest = serde_json::from_slice(&before[MANIFEST]).expect("it is a manifest");
        write_dir(&with_hashes(manifest, before), dir).expect("writable");
        std::fs::write(dir.join("mir/mine.mir"), b"edited").expect("writable");
        write_dir(&sample(), dir).expect("writable");
        let (gone, mine) = (
            dir.join("mir/gone.mir").exists(),
            dir.join("mir/mine.mir").exists(),
        );
        assert_eq!((gone, mine), (false, true));
    }

    #[test]
    fn the_same_files_give_the_same_tar() {
        assert_eq!(
            to_tar(&sample()).expect("short"),
            to_tar(&sample()).expect("short")
        );
    }

    #[test]
    fn what_is_not_whole_is_refused_with_the_reason() {
        assert_eq!(edit(|f| drop(f.remove(MANIFEST))), "manifest.json is missing");
        assert_eq!(
            edit(|f| drop(f.remove("host/image.o"))),
            "\"host/image.o\" is missing"
        );
        assert_eq!(
            edit(|f| f.get_mut("host/image.o").expect("there").push(0)),
            "\"host/image.o\" has another sha256 than the manifest says"
        );
        assert_eq!(
            edit(|f| drop(f.insert("x".into(), vec![]))),
            "\"x\" is not in the manifest"
        );
        assert_eq!(
            edit_manifest("\"schema\": 1", "\"schema\": 2"),
            "manifest.json has schema 2, this version reads 1"
        );
        assert_eq!(
            edit_manifest("\"max\": 8", "\"max\": 9999999"),
            "workload \"web\": a message size is out of range"
        );
        assert_eq!(
            edit_manifest("host/image.o", "../image.o"),
            "bad file name \"../image.o\""
        );
        assert!(
            edit_manifest("\"schema\": 1", "\"schema\": 1, \"odd\": 2")
                .starts_with("manifest.json is malformed")
        );
    }

    #[test]
    fn the_limits_hold() {
        let mut collector = Collector::new(Limits { bytes: 10, files: 2 });
        let mut add = |name: &str, bytes: &[u8]| {
            let added = collector.add(name, bytes, Error::Archive);
            added.map_err(|error| error.to_string())
        };
        assert_eq!(add("a", b"12345"), Ok(5));
        let error = add("b", b"123456").expect_err("11 bytes are too many");
        assert_eq!(error, "the bundle is too large: too many bytes");
        let error = add("a", b"").expect_err("there is one");
        assert_eq!(error, "\"a\" stands twice");
        assert_eq!(add("b", b""), Ok(0));
        let error = add("c", b"").expect_err("three files are too many");
        assert_eq!(error, "the bundle is too large: too many files");
    }

    /// One entry of a tar, whatever it says of itself.
    fn entry(kind: tar::EntryType, name: &str, size: u64, data: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).expect("a short name");
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_cksum();
        let mut bytes = [header.as_bytes(), data].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn tar_error(tar: &[u8]) -> String {
        let limits = Limits {
            bytes: 4096,
            files: 2,
        };
        match from_tar(tar, limits) {
            Ok(files) => panic!("it was taken: {:?}", files.keys()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_tar_of_anything_but_plain_files_is_refused_with_the_reason() {
        use tar::EntryType;
        let file = |name| entry(EntryType::Regular, name, 2, b"hi");
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Fifo,
            EntryType::GNUSparse,
        ] {
            assert_eq!(
                tar_error(&entry(kind, "x", 0, b"")),
                "\"x\" is neither a file nor a folder"
            );
        }
        assert_eq!(tar_error(&[file("x"), file("x")].concat()), "\"x\" stands twice");
        assert_eq!(tar_error(&file("a/.b")), "bad file name \"a/.b\"");
        assert_eq!(
            tar_error(&entry(EntryType::Regular, "x", 700, b"hi")),
            "\"x\" is cut off"
        );
        assert_eq!(tar_error(&file("x")[..300]), "the archive is malformed");
        assert_eq!(tar_error(&[7; 512]), "the archive is malformed");
        let huge = entry(EntryType::Regular, "x", 1 << 40, &[0; 8192]);
        assert_eq!(tar_error(&huge), "the bundle is too large: too many bytes");
        let folders = entry(EntryType::Directory, "d", 0, b"").repeat(100);
        assert_eq!(
            tar_error(&folders),
            "the bundle is too large: too many bytes in the archive"
        );
        let long = entry(EntryType::GNULongName, "long", 1 << 40, &[b'a'; 8192]);
        assert!(tar_error(&[long, file("x")].concat()).starts_with("the archive is malformed"));
    }

    #[test]
    fn tars_of_other_programs_and_long_names_are_read() {
        use tar::EntryType;
        let long = ["folder"; 7].join("/") + "/" + &"x".repeat(200);
        let tar = [
            entry(EntryType::Directory, "./", 0, b""),
            entry(EntryType::XHeader, "pax", 11, b"11 mtime=1\n"),
            entry(EntryType::Regular, "./a", 2, b"hi"),
            to_tar(&[(long.clone(), b"there".to_vec())].into()).expect("it has a form for long names"),
        ];
        let files = from_tar(&*tar.concat(), Limits::default()).expect("all is plain");
        assert_eq!(
            files,
            [("a".to_owned(), b"hi".to_vec()), (long, b"there".to_vec())].into()
        );
    }
}

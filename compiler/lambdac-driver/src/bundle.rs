//! Building a bundle in memory: portable MIR, artifacts per target, and the manifest.

use lnic_bundle::Files;

use crate::manifest::manifest;
use crate::{Image, bmv2, emit, nfp, xdp};

/// Why an artifact could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A target that nothing is built for.
    #[error("{0:?} is no target that can be built for; `lambdac targets` lists them")]
    UnknownTarget(String),
    /// The host's code generator refused.
    #[error("host: {0}")]
    Host(#[from] lambdac_backend_host::Error),
    /// The NIC's code generator refused.
    #[error("xdp: {0}")]
    Xdp(#[from] xdp::Error),
    /// What stands around lambdas has no P4.
    #[error("bmv2: {0}")]
    Bmv2(#[from] bmv2::Error),
    /// p4c takes no such P4.
    #[error("bmv2: {0}")]
    P4c(String),
    /// The image has no P4 or no Micro-C.
    #[error("nfp: {0}")]
    Nfp(#[from] nfp::Error),
}

/// What p4c makes of a program for bmv2; none where it is not here.
pub type Translate<'t> = dyn Fn(&str) -> Result<Option<Vec<u8>>, String> + 't;

/// All files of a bundle. The same image and targets give the same bytes. `p4c` is a tool of the system, so the caller runs
/// it.
///
/// # Errors
/// If a target isn't known, or its code generator or p4c refuses the image.
pub fn build(image: &Image, targets: &[String], p4c: &Translate<'_>) -> Result<Files, Error> {
    let mut names: Vec<&str> = targets.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut files = Files::new();
    for linked in &image.workloads {
        let module = &linked.compiled.module;
        files.insert(
            format!("workloads/{}.mir", module.name),
            emit::mir(module).into_bytes(),
        );
    }
    for name in &names {
        match *name {
            "host" => {
                let object = emit::host_object(image)?;
                files.insert("host/image.o".into(), object.object);
                files.insert("host/image.h".into(), object.header.into_bytes());
            }
            xdp::NAME => {
                files.insert("xdp/image.bpf.o".into(), xdp::elf(&xdp::image(image)?)?);
            }
            bmv2::NAME => {
                let texts = bmv2::files(image)?;
                if let Some(json) = p4c(&texts[0].1).map_err(Error::P4c)? {
                    files.insert("bmv2/image.json".into(), json);
                }
                for (name, text) in texts {
                    files.insert(format!("bmv2/{name}"), text.into_bytes());
                }
            }
            nfp::NAME => {
                let emitted = nfp::emit(image, &nfp::Options::default())?;
                for (name, text) in nfp::files(image, &emitted)? {
                    files.insert(format!("nfp/{name}"), text.into_bytes());
                }
            }
            other => return Err(Error::UnknownTarget(other.to_owned())),
        }
    }
    Ok(lnic_bundle::with_hashes(manifest(image, &names), files))
}

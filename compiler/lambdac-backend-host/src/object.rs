//! Code as an object file, with a C header; and as text.

use std::collections::BTreeSet;
use std::sync::Arc;

use cranelift_object::{ObjectBuilder, ObjectModule};
use lambdac_mir::Module;

use crate::emit;
use crate::header::header;
use crate::isa::{Use, isa};
use crate::{Error, Result};

/// An image as an object file. The same modules give the same bytes on every machine of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The object file (ELF on Linux), position-independent; besides its own symbols it needs `memcpy`, `memmove`,
    /// `memset` and `memcmp`.
    pub object: Vec<u8>,
    /// The header that declares its entries and what they take.
    pub header: String,
}

fn object_module() -> Result<ObjectModule> {
    let names = cranelift_module::default_libcall_names();
    let builder = ObjectBuilder::new(isa(Use::Object)?, "lnic", names);
    Ok(ObjectModule::new(
        builder.map_err(|error| Error::Host(error.to_string()))?,
    ))
}

/// Compiles an image to an object file.
///
/// # Errors
/// As [`crate::compile_jit`].
pub fn compile_object(modules: &[Arc<Module>]) -> Result<Object> {
    let mut object = object_module()?;
    let mut symbols = BTreeSet::new();
    let mut compiled = Vec::with_capacity(modules.len());
    for module in modules {
        let entries = emit::compile_module(module, &mut object, &mut symbols, None)?;
        compiled.push((&**module, entries));
    }
    let header = header(&compiled);
    let bytes = object.finish().emit().map_err(|error| Error::Codegen {
        at: "the image".into(),
        reason: error.to_string(),
    })?;
    Ok(Object {
        object: bytes,
        header,
    })
}

/// The Cranelift IR of a module, function by function, before Cranelift's own passes.
///
/// # Errors
/// As [`crate::compile_jit`].
pub fn clif_text(module: &Module) -> Result<String> {
    let mut text = String::new();
    let mut object = object_module()?;
    emit::compile_module(module, &mut object, &mut BTreeSet::new(), Some(&mut text))?;
    Ok(text)
}

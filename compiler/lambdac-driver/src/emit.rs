//! Stages of the compiler as text, and the host's object file.

use lambdac_backend_host::Object;
use lambdac_backend_p4::print;
use lambdac_hir::Workload;
use lambdac_mir::Module;
use lambdac_syntax::ast;

use crate::{Compiled, Image, bmv2, link, nfp, xdp};

/// The AST, as its data structures print.
pub fn ast(file: &ast::File) -> String {
    format!("{file:#?}\n")
}

/// Typed HIR, as its data structures print.
pub fn hir(workload: &Workload) -> String {
    format!("{workload:#?}\n")
}

/// MIR in its text form, which parses back.
pub fn mir(module: &Module) -> String {
    module.to_string()
}

/// Cranelift IR of the host code.
///
/// # Errors
/// If the code generator refuses the module.
pub fn clif(module: &Module) -> Result<String, lambdac_backend_host::Error> {
    lambdac_backend_host::clif_text(module)
}

/// eBPF of a workload's programs for the NIC, alone in an image, in readable assembly.
///
/// # Errors
/// If the code generator refuses it.
pub fn bpf(compiled: Compiled) -> Result<String, xdp::Error> {
    // One workload is neither twice there nor too many.
    let image = link(vec![compiled]).unwrap_or_default();
    Ok(xdp::image(&image)?.to_text())
}

/// P4_16 of a workload for the reference switch, alone in an image.
///
/// # Errors
/// If what stands around its lambdas has no code.
pub fn p4(compiled: Compiled) -> Result<String, bmv2::Error> {
    let image = link(vec![compiled]).unwrap_or_default();
    Ok(print::print(&bmv2::output(&image)?.program))
}

/// Micro-C of a workload for the NFP, alone in an image.
///
/// # Errors
/// If the image has no code.
pub fn microc(compiled: Compiled) -> Result<String, nfp::Error> {
    let image = link(vec![compiled]).unwrap_or_default();
    Ok(nfp::emit(&image, &nfp::Options::default())?.c.text)
}

/// The object file of an image, with its C header.
///
/// # Errors
/// If the code generator refuses the image.
pub fn host_object(image: &Image) -> Result<Object, lambdac_backend_host::Error> {
    lambdac_backend_host::compile_object(&image.modules())
}

//! What an image for the NIC consists of: an object, and what is to be known of its workloads beside their code.

use std::sync::Arc;

use lambdac_driver::nic::Places;
use lambdac_driver::{Image, xdp};
use lambdac_mir::Module;

/// A workload of an image. Its place in [`Contents::workloads`] is its position in the object.
#[derive(Clone, Debug)]
pub struct Resident {
    /// Its id on the wire.
    pub id: u32,
    /// Its MIR.
    pub module: Arc<Module>,
    /// Who runs and holds what.
    pub places: Places,
}

impl Resident {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.module.name
    }

    /// Whether any of its lambdas is the NIC's.
    pub fn is_native(&self) -> bool {
        self.places.native().contains(&true)
    }

    /// Whether the NIC holds state that changes.
    pub fn is_stateful(&self) -> bool {
        let mut objects = self.module.objects.iter();
        objects.any(|object| !is_table(object) && self.places.on_nic(&object.name))
    }
}

pub(crate) fn is_table(object: &lambdac_mir::Object) -> bool {
    matches!(object.kind, lambdac_mir::ObjectKind::Table { .. })
}

/// An image for the NIC.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The object file.
    pub elf: Vec<u8>,
    /// By position.
    pub workloads: Vec<Resident>,
}

impl Contents {
    /// Compiles a linked image for the NIC.
    ///
    /// # Errors
    /// If the code generator refuses what the legaliser let through.
    pub fn compile(image: &Image) -> Result<Self, xdp::Error> {
        let elf = xdp::elf(&xdp::image(image)?)?;
        let resident = |linked: &lambdac_driver::Linked| Resident {
            id: linked.id,
            module: linked.compiled.module.clone(),
            places: Places::of(&linked.compiled.checked, &linked.compiled.module),
        };
        Ok(Self {
            elf,
            workloads: image.workloads.iter().map(resident).collect(),
        })
    }
}

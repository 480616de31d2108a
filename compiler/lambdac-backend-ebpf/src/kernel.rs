//! What programs need of a kernel, as the device's description lists it.

use lambdac_target::{Device, Release};

use crate::insn::Helper;

/// The helpers that programs call, each with the release that first has it.
pub fn helpers(device: &Device) -> Vec<(Helper, Option<Release>)> {
    let listed = |helper: Helper| device.kernel.as_ref()?.helpers.get(helper.name()).copied();
    Helper::ALL
        .iter()
        .map(|helper| (*helper, listed(*helper)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::object::MapKind;

    #[test]
    fn the_description_lists_what_programs_use_and_nothing_else() {
        let device = lambdac_target::builtin("xdp").unwrap();
        let newest = helpers(&device).into_iter().map(|(_, release)| release).max();
        assert_eq!(newest.flatten().unwrap().to_string(), "5.18");
        let listed = device.kernel.unwrap();
        let names: BTreeSet<&str> = listed.helpers.keys().map(String::as_str).collect();
        assert_eq!(names, Helper::ALL.iter().map(|helper| helper.name()).collect());
        let names: BTreeSet<&str> = listed.maps.keys().map(String::as_str).collect();
        assert_eq!(names, MapKind::ALL.iter().map(|kind| kind.name()).collect());
    }
}

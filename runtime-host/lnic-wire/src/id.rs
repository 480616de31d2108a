//! Workload ids: a dense index that a NIC can dispatch on, and a tag made from the name.

/// The high half of a workload's id: 16 bits of a hash (FNV-1a, 64 bits) of its name.
///
/// It lets a worker refuse a caller whose idea of the index is stale.
pub fn name_tag(name: &str) -> u16 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 48) as u16
}

/// The id of the workload `name` at the dense `index`, or none for index 0.
///
/// Indexes start at 1, so no id is ever 0.
pub fn workload_id(index: u16, name: &str) -> Option<u32> {
    (index != 0).then(|| u32::from(name_tag(name)) << 16 | u32::from(index))
}

/// The dense index inside `id`.
pub fn id_index(id: u32) -> u16 {
    id as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_index_and_tag_and_is_never_zero() {
        let id = workload_id(7, "web").unwrap();
        assert_eq!(id_index(id), 7);
        assert_eq!((id >> 16) as u16, name_tag("web"));
        assert_eq!(workload_id(0, "web"), None);
    }

    #[test]
    fn tags_are_fixed_by_the_name_alone() {
        // FNV-1a test vectors: "" is the offset basis, "a" is 0xaf63dc4c8601ec8c.
        assert_eq!(name_tag(""), 0xcbf2);
        assert_eq!(name_tag("a"), 0xaf63);
    }
}

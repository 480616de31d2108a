//! `hash::crc32` and `hash::crc16`, bit by bit.

/// One step of a reflected CRC.
fn crc(bytes: &[u8], polynomial: u32, initial: u32) -> u32 {
    bytes.iter().fold(initial, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let low = crc & 1;
            (crc >> 1) ^ (polynomial * low)
        })
    })
}

/// CRC-32 (IEEE 802.3); check value 0xcbf43926.
pub fn crc32(bytes: &[u8]) -> u32 {
    !crc(bytes, 0xedb8_8320, u32::MAX)
}

/// CRC-16/ARC; check value 0xbb3d.
pub fn crc16(bytes: &[u8]) -> u16 {
    crc(bytes, 0xa001, 0) as u16
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_values_come_out() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc16(b"123456789"), 0xbb3d);
        assert_eq!((super::crc32(b""), super::crc16(b"")), (0, 0));
    }
}

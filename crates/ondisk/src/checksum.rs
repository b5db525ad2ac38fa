//! The checksum that on-disk formats share.

/// CRC-32 with the polynomial of Ethernet, bits in reverse, begun with `seed` and not
/// inverted at the end.
pub(crate) fn crc32_le(seed: u32, bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    bytes.iter().fold(seed, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let carry = if sum & 1 == 1 { POLYNOMIAL } else { 0 };
            (sum >> 1) ^ carry
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(!crc32_le(!0, b"123456789"), 0xcbf4_3926);
    }
}

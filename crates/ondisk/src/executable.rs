//! Executables of UEFI firmware, which have the format of Windows (PE).

use crate::read::{field, le_u16, le_u32};

/// The number of the processor that an executable is for, as the PE format numbers them. `None`:
/// the bytes at its start do not say.
#[must_use]
pub fn pe_machine(head: &[u8]) -> Option<u16> {
    // The header follows a small program for DOS.
    head.starts_with(b"MZ").then_some(())?;
    let header = usize::try_from(le_u32(head, 0x3c)?).ok()?;
    let is_marked = field(head, header)? == *b"PE\0\0";
    is_marked.then(|| le_u16(head, header.checked_add(4)?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes
    }

    #[test]
    fn executables_say_what_they_are_for_or_nothing() {
        assert_eq!(pe_machine(&executable(0x8664)), Some(0x8664));
        let mut far = executable(0x8664);
        far[0x3c..0x40].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut cut = executable(0x8664);
        cut.truncate(0x85);
        for bytes in [&b""[..], b"MZ", b"\x7fELF", &[0; 512], &far, &cut] {
            assert_eq!(pe_machine(bytes), None);
        }
    }
}

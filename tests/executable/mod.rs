//! The shape of an executable, for the tests of both programs.

use std::fs;

/// `ET_DYN`: the kernel places it where it likes.
const POSITION_INDEPENDENT: u16 = 3;
/// `PT_INTERP`: a dynamic linker is needed.
const INTERPRETER: u32 = 3;

/// Checks that a program is static and position independent.
pub(crate) fn check(program: &str) {
    let elf = fs::read(program).unwrap();
    let half = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().unwrap());
    assert_eq!(half(16), POSITION_INDEPENDENT);
    let table = usize::try_from(u64::from_le_bytes(elf[32..40].try_into().unwrap())).unwrap();
    let (size, entries) = (usize::from(half(54)), usize::from(half(56)));
    assert!(entries > 0);
    for entry in elf[table..].chunks(size).take(entries) {
        assert_ne!(
            u32::from_le_bytes(entry[..4].try_into().unwrap()),
            INTERPRETER
        );
    }
}

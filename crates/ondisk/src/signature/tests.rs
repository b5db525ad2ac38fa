//! The rules of the table on made-up bytes. What real programs make is compared with `blkid`
//! in `tests/programs.rs`.

use proptest::prelude::*;

use super::*;

/// Bytes at offsets on an empty device.
fn device(size: u64, marks: &[(u64, &[u8])]) -> Vec<u8> {
    let mut device = vec![0; usize::try_from(size).unwrap()];
    for (at, bytes) in marks {
        let at = usize::try_from(*at).unwrap();
        device[at..at + bytes.len()].copy_from_slice(bytes);
    }
    device
}

fn names(device: &[u8]) -> Vec<&'static str> {
    let found = find(device, 512).unwrap();
    found.iter().map(|found| found.signature.name).collect()
}

fn content(device: &[u8]) -> DeviceContent {
    identify(device, 512).unwrap()
}

/// The least that is taken for LUKS, for swap, for XFS, for FAT, for a CD.
const LUKS: (u64, &[u8]) = (0, b"LUKS\xba\xbe\0\x01");
const SWAP_HEADER: (u64, &[u8]) = (1024, &[1, 0, 0, 0, 9, 0, 0, 0]);
const SWAP_MARK: (u64, &[u8]) = (0xff6, b"SWAPSPACE2");
const SQUASHFS: [(u64, &[u8]); 2] = [(0, b"hsqs"), (28, &[4, 0])];
const CD: (u64, &[u8]) = (32768, b"\x01CD001\x01");

#[test]
fn an_empty_device_and_a_tiny_one_are_nothing() {
    for size in [0, 1, 511, 512, 4096, MIB, 3 * MIB + 512] {
        let device = device(size, &[]);
        assert!(matches!(content(&device), DeviceContent::Nothing), "{size}");
        assert!(shared(&device[..]).unwrap().is_empty(), "{size}");
    }
}

#[test]
fn what_is_encrypted_counts_before_what_was_there_earlier() {
    let device = device(4 * MIB, &[LUKS, SWAP_HEADER, SWAP_MARK]);
    let found = content(&device).certain().unwrap();
    assert_eq!(found.signature.name, "crypto_LUKS");
    assert_eq!(names(&device), ["crypto_LUKS", "swap"]);
}

#[test]
fn of_two_that_exclude_each_other_none_counts() {
    let both = [SWAP_HEADER, SWAP_MARK, SQUASHFS[0], SQUASHFS[1]];
    assert!(matches!(
        content(&device(4 * MIB, &both)),
        DeviceContent::Ambiguous(_)
    ));
    // On a floppy disk the first does.
    let floppy = content(&device(1440 << 10, &both)).certain().unwrap();
    assert_eq!(floppy.signature.name, "swap");
}

#[test]
fn a_cd_tolerates_the_other_format_of_cds_and_no_others() {
    let cd = device(4 * MIB, &[CD]);
    assert_eq!(content(&cd).certain().unwrap().signature.name, "iso9660");
    let more = device(4 * MIB, &[CD, SWAP_HEADER, SWAP_MARK]);
    assert!(matches!(content(&more), DeviceContent::Ambiguous(_)));
}

#[test]
fn swap_has_pages_of_all_sizes_in_both_orders_of_bytes() {
    let uuid: [u8; 16] = *b"\x3e\x6b\xe9\xde\x8f\xc1\x4c\x6d\x8b\x2a\x10\x20\x30\x40\x50\x60";
    for page in [4096_u64, 8192, 16384, 32768, 65536] {
        for header in [[1, 0, 0, 0, 9, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 9]] {
            let mark: (u64, &[u8]) = (page - 10, b"SWAPSPACE2");
            let marks = [(1024, &header[..]), (1036, &uuid), (1052, b"swap"), mark];
            let found = content(&device(4 * MIB, &marks)).certain().unwrap();
            assert_eq!(found.signature.name, "swap");
            let identity = found.identity;
            assert_eq!(identity.label.as_deref(), Some("swap"));
            let text = "3e6be9de-8fc1-4c6d-8b2a-102030405060";
            assert_eq!(identity.uuid.as_deref(), Some(text), "{page}");
        }
        // A version that is not known, and an area without pages.
        for header in [[2, 0, 0, 0, 9, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]] {
            let marks = [(1024, &header[..]), (page - 10, b"SWAPSPACE2")];
            assert!(matches!(
                content(&device(4 * MIB, &marks)),
                DeviceContent::Nothing
            ));
        }
    }
}

#[test]
fn what_others_may_use_is_found_by_its_mark_alone() {
    for signature in SIGNATURES {
        for (at, bytes) in signature.marks {
            let device = device(4 * MIB, &[(*at, bytes)]);
            let found = shared(&device[..]).unwrap();
            let expected: Vec<_> = signature.shared.into_iter().collect();
            assert_eq!(found, expected, "{} at {at}", signature.name);
        }
    }
    assert_eq!(shared(&b""[..]).unwrap(), [""; 0]);
}

#[test]
fn superblocks_of_linux_raid_are_found_in_all_versions_and_only_at_home() {
    const MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
    let size = 3 * MIB + 4096;
    let version_1 = |at: u64, claimed: u64| {
        let home = (claimed / 512).to_le_bytes();
        let marks: [(u64, &[u8]); 4] = [
            (at, &MAGIC),
            (at + 4, &[1]),
            (at + 32, b"box:large"),
            (at + 144, &home),
        ];
        device(size, &marks)
    };
    for at in [0, 4096, size - 8192] {
        let found = content(&version_1(at, at)).certain().unwrap();
        assert_eq!(found.signature.name, LINUX_RAID, "{at}");
        assert_eq!(found.identity.label.as_deref(), Some("box:large"), "{at}");
        assert!(names(&version_1(at, at + 512)).is_empty(), "{at}");
        assert!(names(&version_1(at + 512, at + 512)).is_empty(), "{at}");
    }
    let oldest = (size & !0xffff) - 0x1_0000;
    for (magic, used, is_there) in [
        (MAGIC, 0, true),
        (MAGIC, oldest / 1024, true),
        // The array would use what is behind its superblock.
        (MAGIC, oldest / 1024 + 1, false),
        // Another machine's order of bytes.
        (0xa92b_4efc_u32.to_be_bytes(), 0, true),
    ] {
        let used = u32::try_from(used).unwrap().to_le_bytes();
        let device = device(size, &[(oldest, &magic), (oldest + 32, &used)]);
        assert_eq!(names(&device) == [LINUX_RAID], is_there, "{used:?}");
    }
}

#[test]
fn an_error_of_the_source_is_no_answer() {
    struct Broken(u64);
    impl Source for Broken {
        type Error = u64;
        fn size(&self) -> u64 {
            4 * MIB
        }
        fn read_at(&mut self, offset: u64, _: &mut [u8]) -> Result<(), u64> {
            if offset >= self.0 {
                Err(offset)
            } else {
                Ok(())
            }
        }
    }
    assert_eq!(find(Broken(0), 512).unwrap_err(), 0);
    assert!(find(Broken(MIB), 512).unwrap_err() >= MIB);
    assert!(shared(Broken(2 * MIB)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Any bytes behind any mark: an answer, in bounded time and memory.
    #[test]
    fn nonsense_is_survived(
        seed in proptest::collection::vec(any::<u8>(), 1024),
        which in any::<prop::sample::Index>(),
        sector in prop_oneof![Just(512_u64), Just(4096), Just(520), Just(0)],
        size in 0_usize..80_000,
        repeated in any::<bool>(),
    ) {
        let mut device = if repeated { seed.repeat(80) } else {
            let mut device = vec![0; 80_000];
            device[..1024].copy_from_slice(&seed);
            device
        };
        let marks: Vec<MagicBytes> = SIGNATURES.iter().flat_map(|signature| signature.marks).copied().collect();
        let (at, bytes) = *which.get(&marks);
        if let Ok(at) = usize::try_from(at) && at + bytes.len() < device.len() {
            device[at..at + bytes.len()].copy_from_slice(bytes);
        }
        device[510..512].copy_from_slice(&[0x55, 0xaa]);
        device.truncate(size);
        let found = find(&device[..], sector).unwrap();
        let _ = decide(found, size as u64);
        shared(&device[..]).unwrap();
    }
}

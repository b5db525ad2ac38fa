use proptest::prelude::*;

use super::Role::{BiosBoot, ConfigDrive, EfiSystem, Ephemeral, Prep, Root, Swap};
use super::*;

const GIB: u64 = 1 << 30;
const DISK: Geometry = Geometry {
    size: 20 * GIB,
    sector_size: 512,
};

fn wish(boot_mode: BootMode, label: DiskLabel) -> LayoutRequest {
    LayoutRequest {
        boot_mode,
        label,
        is_power: false,
        efi_system: 550,
        bios_boot: 1,
        ephemeral: 0,
        swap: 0,
        config_drive: 0,
        root: 1000,
    }
}

/// Roles, starts, sizes (MiB) and the active flag.
fn shape(layout: &PartitionLayout) -> Vec<(Role, u64, u64, bool)> {
    layout
        .partitions
        .iter()
        .map(|part| {
            (
                part.role,
                part.offset / MIB,
                part.size / MIB,
                part.is_active,
            )
        })
        .collect()
}

#[test]
fn partitions_are_those_of_the_python_agent() {
    use BootMode::{Bios, Uefi};
    use DiskLabel::{Gpt, Msdos};
    let everything = LayoutRequest {
        ephemeral: 200,
        swap: 100,
        config_drive: 1,
        ..wish(Uefi, Gpt)
    };
    let power = LayoutRequest {
        is_power: true,
        ..wish(Bios, Msdos)
    };
    for (wish, expected) in [
        (wish(Bios, Msdos), vec![(Root, 1, 1000, true)]),
        (
            wish(Bios, Gpt),
            vec![(BiosBoot, 1, 1, false), (Root, 2, 1000, false)],
        ),
        (
            wish(Uefi, Gpt),
            vec![(EfiSystem, 1, 550, false), (Root, 551, 1000, false)],
        ),
        (
            everything,
            vec![
                (EfiSystem, 1, 550, false),
                (Ephemeral, 551, 200, false),
                (Swap, 751, 100, false),
                (ConfigDrive, 851, 1, false),
                (Root, 852, 1000, false),
            ],
        ),
        (
            LayoutRequest {
                boot_mode: Bios,
                label: Msdos,
                ..everything
            },
            vec![
                (Ephemeral, 1, 200, false),
                (Swap, 201, 100, false),
                (ConfigDrive, 301, 1, false),
                (Root, 302, 1000, true),
            ],
        ),
        (power, vec![(Prep, 1, 8, true), (Root, 9, 1000, false)]),
        (
            LayoutRequest {
                label: Gpt,
                ..power
            },
            vec![(Prep, 1, 8, false), (Root, 9, 1000, false)],
        ),
    ] {
        let layout = wish.layout(DISK).unwrap();
        assert_eq!(shape(&layout), expected, "{wish:?}");
    }
}

#[test]
fn kinds_are_those_that_systems_look_for() {
    assert_eq!(
        EfiSystem.kind().gpt,
        ironic_ondisk::partition_table::kinds::EFI_SYSTEM.gpt
    );
    for role in [
        EfiSystem,
        BiosBoot,
        Prep,
        Ephemeral,
        Swap,
        ConfigDrive,
        Root,
    ] {
        assert_ne!(role.kind().gpt, Guid([0; 16]), "{role:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_a_way_out() {
    let many = LayoutRequest {
        is_power: true,
        ephemeral: 1,
        swap: 1,
        config_drive: 1,
        ..wish(BootMode::Bios, DiskLabel::Msdos)
    };
    assert_eq!(many.layout(DISK), Err(LayoutError::TooMany(5)));
    let large = LayoutRequest {
        root: 30_000,
        swap: 10,
        ..wish(BootMode::Uefi, DiskLabel::Gpt)
    };
    let refused = large.layout(DISK).unwrap_err().to_string();
    assert_eq!(
        refused,
        "the partitions need 30561 MiB and the disk has room for 20479 MiB: ask for smaller \
         ones (efi system partition 550, swap 10, root 30000), or choose a larger disk with \
         root device hints"
    );
    let huge = Geometry {
        size: 4 << 40,
        ..DISK
    };
    let beyond = LayoutRequest {
        root: 3 << 20,
        ..wish(BootMode::Bios, DiskLabel::Msdos)
    };
    assert!(matches!(
        beyond.layout(huge),
        Err(LayoutError::BeyondReach { .. })
    ));
    // The same with larger sectors is within reach.
    let large_sectors = Geometry {
        sector_size: 4096,
        ..huge
    };
    assert!(beyond.layout(large_sectors).is_ok());
    let none = LayoutRequest { root: 0, ..beyond };
    assert_eq!(none.layout(huge), Err(LayoutError::NoRoot));
}

#[test]
fn a_disk_filled_to_its_end_leaves_room_for_the_backup_table() {
    let full = LayoutRequest {
        root: 20 * 1024 - 551,
        ..wish(BootMode::Uefi, DiskLabel::Gpt)
    };
    let layout = full.layout(DISK).unwrap();
    let root = layout.find(Root).unwrap();
    assert_eq!(root.offset + root.size, DISK.size - 33 * 512);
    let more = LayoutRequest {
        root: full.root + 1,
        ..full
    };
    assert!(matches!(
        more.layout(DISK),
        Err(LayoutError::TooLarge { .. })
    ));
}

proptest! {
    #[test]
    fn no_wish_overlaps_or_overflows(
        sizes in proptest::array::uniform6(prop_oneof![Just(0_u64), 1..5000_u64, any::<u64>()]),
        is_bios in any::<bool>(), is_gpt in any::<bool>(), is_power in any::<bool>(),
        disk in 0..40_u64, sector_size in prop_oneof![Just(512_u32), Just(4096)],
    ) {
        let geometry = Geometry { size: disk * GIB + disk * 4096, sector_size };
        let [efi_system, bios_boot, ephemeral, swap, config_drive, root] = sizes;
        let wish = LayoutRequest {
            boot_mode: if is_bios { BootMode::Bios } else { BootMode::Uefi },
            label: if is_gpt { DiskLabel::Gpt } else { DiskLabel::Msdos },
            is_power, efi_system, bios_boot, ephemeral, swap, config_drive, root,
        };
        if let Ok(layout) = wish.layout(geometry) {
            let mut end = MIB;
            for part in &layout.partitions {
                prop_assert_eq!(part.offset, end);
                prop_assert!(part.size > 0);
                prop_assert_eq!(part.size % u64::from(sector_size), 0);
                end += part.size;
            }
            prop_assert!(end <= geometry.size);
            prop_assert_eq!(layout.partitions.last().unwrap().role, Root);
        }
    }
}

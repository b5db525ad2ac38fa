//! The types of partitions that have a meaning here, in both kinds of table.

use crate::partition_table::guid::Guid;

/// What partitions of one use are called in a GPT and in an MBR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionKind {
    /// The type in a GUID partition table.
    pub gpt: Guid,
    /// The type in a master boot record.
    pub mbr: u8,
}

impl PartitionKind {
    const fn new(gpt: u128, mbr: u8) -> Self {
        Self {
            gpt: Guid::of_text(gpt),
            mbr,
        }
    }
}

/// Where UEFI firmware looks for boot loaders.
pub const EFI_SYSTEM: PartitionKind =
    PartitionKind::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b, 0xef);
/// Where GRUB keeps its core on a GPT that BIOS boots. An MBR has no type for it.
pub const BIOS_BOOT: PartitionKind =
    PartitionKind::new(0x21686148_6449_6e6f_744e_656564454649, 0x83);
/// What firmware of POWER machines boots.
pub const PREP: PartitionKind = PartitionKind::new(0x9e1a2d38_c612_4316_aa26_8b49521e5a8b, 0x41);
/// Swap space of Linux.
pub const SWAP: PartitionKind = PartitionKind::new(0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f, 0x82);
/// File systems of Linux.
pub const LINUX: PartitionKind = PartitionKind::new(0x0fc63daf_8483_4772_8e79_3d69d8477de4, 0x83);
/// Members of Linux RAID.
pub const LINUX_RAID: PartitionKind =
    PartitionKind::new(0xa19d880f_05fc_4d3b_a006_743f0f84911e, 0xfd);
/// File systems of VMware, which several machines use at the same time.
const VMFS: PartitionKind = PartitionKind::new(0xaa31e02a_400f_11db_9590_000c2911d1b8, 0xfb);
/// File systems of IBM Spectrum Scale, likewise. An MBR has no type for them.
const GPFS: Guid = Guid::of_text(0x37affc90_ef7d_4e96_91c3_2d7ae055b174);

/// What a table says that a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartitionType {
    /// In a GUID partition table.
    Gpt(Guid),
    /// In a master boot record or a link of its chain.
    Mbr(u8),
}

/// What is in a partition of this type, if other machines may be using it.
#[must_use]
pub fn shared(kind: PartitionType) -> Option<&'static str> {
    match kind {
        PartitionType::Gpt(kind) if kind == VMFS.gpt => Some("VMFS"),
        PartitionType::Gpt(kind) if kind == GPFS => Some("GPFS"),
        PartitionType::Mbr(kind) if kind == VMFS.mbr => Some("VMFS"),
        PartitionType::Gpt(_) | PartitionType::Mbr(_) => None,
    }
}

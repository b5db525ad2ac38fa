//! Shaping disks: tables, metadata, boot entries.

mod boot_arguments;
pub mod boot_efi;
pub mod boot_entry;
pub mod boot_grub;
pub mod boot_image;
mod boot_loader;
pub mod boot_place;
pub mod boot_raid;
pub mod erase;
pub mod fat;
pub mod firmware;
pub mod gpt;
pub mod identity;
pub mod inject;
pub mod iso;
pub mod keep;
pub mod layout;
pub mod mbr;
pub mod medium;
pub mod metadata;
pub mod mount;
pub mod node;
pub mod plan_raid;
pub mod protect;
pub mod raid;
pub mod swap;
pub mod table;
pub mod tree;
pub mod volume;

/// Partitions start at multiples of this.
const ALIGNMENT: u64 = 1 << 20;

/// Finds a place that ends where the disk ends: `taken` is the first sector behind the last
/// partition, `end` the first that cannot be used. Answers the first and the last sector.
///
/// # Errors
/// How many bytes are free, when they are fewer than `needed`.
fn place_last(
    taken: u64,
    end: u64,
    sector: u64,
    wanted: u64,
    needed: u64,
) -> Result<(u64, u64), u64> {
    let (taken, end) = (taken.saturating_mul(sector), end.saturating_mul(sector));
    let lowest = taken.next_multiple_of(ALIGNMENT);
    let free = end.saturating_sub(lowest);
    if free == 0 || free < needed {
        return Err(free);
    }
    let start = end.saturating_sub(wanted) / ALIGNMENT * ALIGNMENT;
    Ok((start.max(lowest) / sector, end / sector - 1))
}

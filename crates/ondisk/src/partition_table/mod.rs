//! Partition tables: GUID partition tables (GPT) and master boot records (MBR), and the one
//! decision which of them counts on a disk that carries several.
//!
//! * [`gpt`] and [`mbr`] each know one kind: reading, fitting to a disk, adding a partition.
//! * [`kinds`] are the types of partitions that mean something here.
//! * [`logical`] follows the chain of logical partitions of an MBR.
//! * [`strict`] says whether the beginning of an image can be a table at all.
//! * [`decide`] says which table Linux makes partitions by.
//! * [`survey`] lists every partition that any table on a disk claims, also those of tables
//!   that do not count: what is to be kept may lie there.

pub mod decide;
pub mod gpt;
pub mod guid;
pub mod kinds;
pub mod logical;
pub mod mbr;
pub mod strict;
pub mod survey;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use crate::size::MIB;

/// New partitions start at multiples of this.
pub const ALIGNMENT: u64 = MIB;

/// Finds a place that ends where the disk ends: `taken` is the first sector behind the last
/// partition, `end` the first that cannot be used. Returns the first and the last sector.
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

//! Whether the first sector of an image can be a partition table, by strict rules: an image that
//! declares nothing else about itself is refused unless it begins with one.

use thiserror::Error;

use super::mbr::{Mbr, PROTECTIVE};
use crate::read::field;
use crate::size::Geometry;

/// Where the only entry of a record in front of a GPT begins, in cylinder, head and sector and
/// as a number: at sector 1 (UEFI specification, 5.2.3).
const PROTECTIVE_START: [u8; 3] = [0x00, 0x02, 0x00];

/// Why a sector cannot be a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StrictError {
    /// There are not enough bytes for one.
    #[error("is cut off")]
    CutOff,
    /// Neither active nor inactive.
    #[error("has an impossible boot flag")]
    BootFlag,
    /// No entry has a type.
    #[error("has no partition")]
    Empty,
    /// The entry that protects a GPT must be alone.
    #[error("protects a GPT and has other partitions, too")]
    Hybrid,
    /// A GPT starts at sector 1.
    #[error("protects a GPT that does not start at sector 1")]
    Start,
}

/// Checks the four entries of the record that an image begins with: they must be possible, and
/// if one of them stands for a GPT, then as the UEFI specification wants it.
///
/// # Errors
/// The first rule that is broken.
pub fn check(head: &[u8]) -> Result<(), StrictError> {
    let sector: [u8; 512] = field(head, 0).ok_or(StrictError::CutOff)?;
    // The entries count sectors, whatever their size is.
    let geometry = Geometry {
        size: 0,
        sector_size: 512,
    };
    let record = Mbr::of_sector(geometry, sector);
    if !record.has_possible_flags() {
        return Err(StrictError::BootFlag);
    }
    let entries = record.entries();
    let [first, ..] = entries;
    let used = entries.iter().filter(|entry| entry.kind != 0).count();
    if used == 0 {
        return Err(StrictError::Empty);
    }
    if record.announces_gpt() {
        if used != 1 || first.kind != PROTECTIVE {
            return Err(StrictError::Hybrid);
        }
        if record.first_start() != PROTECTIVE_START || first.first != 1 {
            return Err(StrictError::Start);
        }
    }
    Ok(())
}

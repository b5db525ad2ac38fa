//! NTFS.

use crate::identity::FormatIdentity;
use crate::read::{le_u16, le_u32, le_u64};
use crate::text;
use crate::window::Window;

/// The record of the volume in the master file table, and the attributes looked for there.
const VOLUME_RECORD: u64 = 3;
const VOLUME_NAME: u32 = 0x60;
const END: u32 = 0xffff_ffff;

pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let sector = window.bytes(0, 512)?;
    let (table, record_size) = table_offset(&sector)?;
    if !window.has(table, b"FILE") {
        return None;
    }
    let offset = table.checked_add(VOLUME_RECORD * record_size)?;
    let record = window.bytes(offset, record_size)?;
    record.starts_with(b"FILE").then(|| FormatIdentity {
        uuid: le_u64(&sector, 72)
            .filter(|serial| *serial != 0)
            .map(|serial| format!("{serial:016X}")),
        label: name_in(&record),
    })
}

/// Where the master file table begins, and how large its records are.
fn table_offset(sector: &[u8]) -> Option<(u64, u64)> {
    let sector_size = u64::from(le_u16(sector, 11)?);
    let cluster_sectors = match *sector.get(13)? {
        power @ (1 | 2 | 4 | 8 | 16 | 32 | 64 | 128) => u64::from(power),
        power @ 240..=249 => 1 << (256 - u32::from(power)),
        _ => return None,
    };
    let cluster = sector_size * cluster_sectors;
    let unused = [14..16, 16..17, 17..19, 19..21, 22..24, 32..36];
    let is_possible = sector_size.is_power_of_two()
        && (256..=4096).contains(&sector_size)
        && cluster <= 2 << 20
        && unused
            .into_iter()
            .all(|range| sector[range].iter().all(|byte| *byte == 0));
    let record_size = match *sector.get(64)? {
        clusters @ (1 | 2 | 4 | 8 | 16 | 32 | 64) => u64::from(clusters) * cluster,
        power @ 0xe1..=0xf7 => 1 << (256 - u32::from(power)),
        _ => return None,
    };
    let clusters = le_u64(sector, 40)? / cluster_sectors;
    let (table, mirror) = (le_u64(sector, 48)?, le_u64(sector, 56)?);
    if !is_possible || table > clusters || mirror > clusters {
        return None;
    }
    Some((table.checked_mul(cluster)?, record_size))
}

fn name_in(record: &[u8]) -> Option<String> {
    let allocated = usize::try_from(le_u32(record, 28)?).ok()?;
    let mut at = usize::from(le_u16(record, 20)?);
    while at <= allocated {
        let attribute = record.get(at..)?;
        let length = usize::try_from(le_u32(attribute, 4)?).ok()?;
        match le_u32(attribute, 0)? {
            _ if length == 0 => return None,
            END => return None,
            VOLUME_NAME => {
                let size = usize::try_from(le_u32(attribute, 16)?).ok()?;
                let start = usize::from(le_u16(attribute, 20)?);
                return text::utf16_le(attribute.get(start..)?.get(..size)?);
            }
            _ => at = at.checked_add(length)?,
        }
    }
    None
}

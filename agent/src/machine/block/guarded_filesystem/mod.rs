//! What lies on a disk that decides whether it may be erased: file systems that other
//! machines may be using, members of arrays, Ironic's virtual media. Reads only.
//!
//! A disk is examined whole: itself, and every partition that any table on it claims, whether
//! or not that table counts and the kernel made devices of them. Signatures:
//! [`ironic_ondisk::signature`]; tables: [`ironic_ondisk::partition_table::survey`].

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use ironic_ondisk::Source;
use ironic_ondisk::partition_table::kinds;
use ironic_ondisk::partition_table::survey::{ClaimedPartition, survey};
use ironic_ondisk::raid::linux;
use ironic_ondisk::read::Area;
use ironic_ondisk::signature::{self, LINUX_RAID};
use ironic_ondisk::size::Geometry;

use crate::machine::block::device_file::DeviceFile;
use crate::machine::block::{BlockDevice, DeviceKind};
use crate::system::System;

/// What was found on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardedContent {
    /// File systems that other machines may be using.
    pub shared: Vec<SharedFileSystem>,
    /// It is a member of a Linux RAID array; its partitions are examined as devices of their own.
    pub raid_member: bool,
    /// The name of that array as its creator gave it, without the host's.
    pub volume_name: Option<String>,
    /// The identity of that array.
    pub array_uuid: Option<String>,
    /// It is labelled as a medium that Ironic inserted to configure this ramdisk. The last tenant
    /// may have written that label, too: see [`BlockDevice::may_be_virtual_media`].
    pub virtual_media: bool,
    /// Its tables claim more partitions than are looked at, so that none was.
    pub is_cut: bool,
}

/// A file system that other machines may be using.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFileSystem {
    /// What it is: `VMFS`, `GPFS`, `GFS2`, `OCFS2`.
    pub what: &'static str,
    /// The partition, and the table that claims it if that is not the one that counts; `None`
    /// for the device itself.
    pub partition: Option<String>,
}

/// The label of the medium with the ramdisk's configuration.
const VIRTUAL_MEDIA_LABEL: &str = "ir-vfd-dev";

/// Examines a device. Blocks.
///
/// # Errors
/// The device cannot be read.
pub fn probe(system: &System, device: &BlockDevice) -> io::Result<GuardedContent> {
    let mut opened = DeviceFile::with_size(&path_of(system, device), device.size)?;
    let geometry = Geometry {
        size: device.size,
        sector_size: device.logical_sectors.unwrap_or(512),
    };
    examine(&mut opened, geometry)
}

/// Where superblocks of Linux RAID begin on a device. Blocks.
///
/// # Errors
/// The device cannot be read.
pub fn superblocks(system: &System, device: &BlockDevice) -> io::Result<Vec<u64>> {
    linux::superblocks(DeviceFile::open(&path_of(system, device))?)
}

fn path_of(system: &System, device: &BlockDevice) -> PathBuf {
    match device.kind {
        DeviceKind::File => PathBuf::from(&device.name),
        _ => system.root.path(&device.name),
    }
}

fn examine<E>(source: &mut dyn Source<Error = E>, geometry: Geometry) -> Result<GuardedContent, E> {
    let mut content = GuardedContent::default();
    let found = survey(source, geometry)?;
    content.is_cut = found.is_cut;
    examine_area(source, geometry, &mut content, None)?;
    if found.is_cut {
        // Reason enough to leave the device alone. Each of so many claims would be looked at
        // whenever the disks are.
        return Ok(content);
    }
    let mut seen = BTreeSet::from([0]);
    for claim in &found.claims {
        if let Some(what) = kinds::shared(claim.kind) {
            content.shared.push(SharedFileSystem {
                what,
                partition: Some(claim.to_string()),
            });
        }
        // Two tables may claim the same place.
        if seen.insert(claim.start) || claim.counts {
            examine_area(source, geometry, &mut content, Some(claim))?;
        }
    }
    content.shared.dedup();
    Ok(content)
}

/// What lies in the device itself, or in one partition of it.
fn examine_area<E>(
    source: &mut dyn Source<Error = E>,
    geometry: Geometry,
    content: &mut GuardedContent,
    claim: Option<&ClaimedPartition>,
) -> Result<(), E> {
    let (start, size) = claim.map_or_else(|| (0, source.size()), |claim| (claim.start, claim.size));
    // Where it ends, tables may disagree: a file system is where it begins.
    let shared = signature::shared(Area::new(&mut *source, start, u64::MAX))?;
    content
        .shared
        .extend(shared.into_iter().map(|what| SharedFileSystem {
            what,
            partition: claim.map(ClaimedPartition::to_string),
        }));
    if claim.is_some_and(|claim| !claim.counts) {
        return Ok(());
    }
    let area = Area::new(&mut *source, start, size);
    let size = area.size();
    let found = signature::find(area, geometry.sector())?;
    let members = found
        .iter()
        .filter(|found| found.signature.name == LINUX_RAID);
    for member in members {
        content.raid_member |= claim.is_none();
        let label = member.identity.label.as_deref();
        let name = label.and_then(linux::volume_name).map(str::to_owned);
        content.volume_name = content.volume_name.take().or(name);
        let uuid = || member.identity.uuid.clone();
        content.array_uuid = content.array_uuid.take().or_else(uuid);
    }
    if claim.is_none() {
        let is_media = |label: String| label.eq_ignore_ascii_case(VIRTUAL_MEDIA_LABEL);
        let certain = signature::decide(found, size).certain();
        let label = certain.and_then(|found| found.identity.label);
        content.virtual_media = label.is_some_and(is_media);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;

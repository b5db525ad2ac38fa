//! Superblocks of Linux RAID (md), versions 0.90, 1.0, 1.1 and 1.2.

use crate::identity::FormatIdentity;
use crate::read::{Source, be_u32, le_u32, le_u64};
use crate::text;
use crate::window::{self, Window};

const MAGIC: u32 = 0xa92b_4efc;
/// What version 0.90 keeps for itself at the end, and aligns to.
const RESERVED: u64 = 64 << 10;
/// Where version 1.2 lies.
const BEHIND_BOOT_SECTORS: u64 = 4096;

/// The identity and the name of the array that it is a member of. A disk may have several
/// superblocks: the one at the end counts first.
pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    all(window).into_iter().next().map(|(_, identity)| identity)
}

/// Where superblocks begin.
///
/// # Errors
/// What the source said.
pub fn superblocks<S: Source>(source: S) -> Result<Vec<u64>, S::Error> {
    window::look(source, 512, |window| {
        all(window).into_iter().map(|(offset, _)| offset).collect()
    })
}

fn all(window: &mut Window<'_>) -> Vec<(u64, FormatIdentity)> {
    let size = window.size();
    let oldest = (size > RESERVED).then(|| (size & !(RESERVED - 1)) - RESERVED);
    let near_end = (size > RESERVED).then(|| (size & !0xfff) - 0x2000);
    let mut found = Vec::new();
    if let Some(at) = oldest {
        found.extend(version_0(window, at).map(|identity| (at, identity)));
    }
    for at in near_end.into_iter().chain([0, BEHIND_BOOT_SECTORS]) {
        found.extend(version_1(window, at).map(|identity| (at, identity)));
    }
    found
}

/// In the order of bytes of the machine that made it.
fn version_0(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 64)?;
    let is_little = le_u32(&block, 0)? == MAGIC;
    if !is_little && be_u32(&block, 0)? != MAGIC {
        return None;
    }
    let number = |at: usize| {
        if is_little {
            le_u32(&block, at)
        } else {
            be_u32(&block, at)
        }
    };
    // The part of the member that the array uses ends before the superblock.
    let used = u64::from(number(32)?) * 1024;
    if window.size() < used + RESERVED || at < used {
        return None;
    }
    let mut uuid = number(20)?.to_be_bytes().to_vec();
    if number(8)? >= 90 {
        for at in [52, 56, 60] {
            uuid.extend(number(at)?.to_be_bytes());
        }
    } else {
        uuid.resize(16, 0);
    }
    Some(FormatIdentity {
        uuid: text::uuid(&uuid),
        label: None,
    })
}

/// It knows its own place: a copy from elsewhere does not count.
fn version_1(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 256)?;
    let is_possible =
        le_u32(&block, 0)? == MAGIC && le_u32(&block, 4)? == 1 && le_u64(&block, 144)? == at / 512;
    is_possible.then(|| FormatIdentity {
        uuid: text::uuid(&block[16..]),
        label: text::label(&block[32..64]),
    })
}

/// The name that the creator of an array gave it: what a superblock has, `host:name` or a name
/// alone, without the host's.
#[must_use]
pub fn volume_name(label: &str) -> Option<&str> {
    let name = label.split_once(':').map_or(label, |(_, name)| name);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_no_part_of_the_name() {
        for (label, name) in [
            ("box:root", Some("root")),
            ("root", Some("root")),
            ("box:/dev/md0", Some("/dev/md0")),
            ("box:a:b", Some("a:b")),
            ("box:", None),
            ("", None),
        ] {
            assert_eq!(volume_name(label), name);
        }
    }
}

//! HFS and HFS+, also one that is wrapped into the other.

use md5::{Digest as _, Md5};

use crate::identity::FormatIdentity;
use crate::read::{be_u16, be_u32};
use crate::text;
use crate::window::Window;

/// What is hashed before eight bytes of identity.
const SPACE: [u8; 16] = [
    0xb3, 0xe2, 0x0f, 0x39, 0xf2, 0x92, 0x11, 0xd6, 0x97, 0xa4, 0x00, 0x30, 0x65, 0x43, 0xec, 0xac,
];
const WRAPPED: [&[u8]; 2] = [b"H+", b"HX"];

pub(crate) fn hfs(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 130)?;
    let allocation = be_u32(&block, 20)?;
    if WRAPPED.contains(&&block[124..126]) || allocation == 0 || allocation % 512 != 0 {
        return None;
    }
    let length = usize::from(block[36]).min(27);
    Some(FormatIdentity {
        uuid: identity(&block[116..124]),
        label: text::label(&block[37..37 + length]),
    })
}

pub(crate) fn hfs_plus(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let outer = window.bytes(at, 512)?;
    let mut start = 0;
    if outer.starts_with(b"BD") {
        let allocation = be_u32(&outer, 20)?;
        if !WRAPPED.contains(&&outer[124..126]) || allocation < 512 || allocation % 512 != 0 {
            return None;
        }
        let first = u64::from(be_u16(&outer, 28)?) * 512;
        start = first + u64::from(be_u16(&outer, 126)?) * u64::from(allocation);
    }
    let header = window.bytes(start + at, 512)?;
    let block_size = be_u32(&header, 40)?;
    let is_possible =
        WRAPPED.contains(&&header[..2]) && block_size >= 512 && block_size.is_power_of_two();
    if !is_possible {
        return None;
    }
    let catalog = u64::from(be_u32(&header, 288)?) * u64::from(block_size);
    if start + catalog > window.size() {
        return None;
    }
    Some(FormatIdentity {
        uuid: identity(&header[104..112]),
        label: label(window, start, &header),
    })
}

fn identity(bytes: &[u8]) -> Option<String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut hash = Md5::new();
    hash.update(SPACE);
    hash.update(bytes);
    let mut hash: [u8; 16] = hash.finalize().into();
    hash[6] = 0x30 | hash[6] & 0x0f;
    hash[8] = 0x80 | hash[8] & 0x3f;
    text::uuid(&hash)
}

/// The name of the root directory: the first key in the first leaf of the catalog.
fn label(window: &mut Window<'_>, start: u64, header: &[u8]) -> Option<String> {
    let block_size = u64::from(be_u32(header, 40)?);
    let extent = |index: usize| {
        let at = 288 + 8 * index;
        Some((
            u64::from(be_u32(header, at)?),
            u64::from(be_u32(header, at + 4)?),
        ))
    };
    let catalog = window.bytes(start + extent(0)?.0 * block_size, 0x2000)?;
    let (leaves, first) = (be_u32(&catalog, 20)?, u64::from(be_u32(&catalog, 24)?));
    let node_size = u64::from(be_u16(&catalog, 32)?);
    if leaves == 0 || node_size < 512 {
        return None;
    }
    let mut block = first * node_size / block_size;
    let mut offset = None;
    for index in 0..8 {
        let (first, count) = extent(index)?;
        if count == 0 {
            return None;
        }
        if block < count {
            offset = Some((first + block) * block_size);
            break;
        }
        block -= count;
    }
    let node = window.bytes(start.checked_add(offset?)?, node_size)?;
    let is_leaf = node[8] == 0xff && be_u16(&node, 10)? > 0 && be_u32(&node, 16)? == 1;
    let length = usize::from(be_u16(&node, 20)?);
    if !is_leaf || length > 255 {
        return None;
    }
    text::utf16_be(node.get(22..22 + length * 2)?)
}

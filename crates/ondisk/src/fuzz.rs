//! Every reader of this crate on damaged input: it must come back, whatever it answers.

use crate::filesystem::ext::layout::{
    ExtInode, ExtLayout, ExtentNode, MAX_EXTENT_DEPTH, ROOT, directory_entries,
};
use crate::partition_table::gpt::{self, Gpt};
use crate::partition_table::logical::Logical;
use crate::partition_table::mbr::{self, Mbr};
use crate::partition_table::{decide, strict, survey};
use crate::raid::linux;
use crate::size::Geometry;
use crate::{executable, image_file, signature};

#[test]
fn damaged_input() {
    for corpus in ["table", "label", "format"] {
        ironic_fuzz::run(corpus, |bytes| {
            read_heads(bytes);
            for sector_size in [512, 4096] {
                read_disk(bytes, sector_size);
            }
        });
    }
}

fn read_heads(bytes: &[u8]) {
    let _ = image_file::sniff(bytes);
    let _ = image_file::luks_version(bytes);
    let _ = strict::check(bytes);
    let _ = executable::pe_machine(bytes);
    let _ = ExtentNode::read(bytes, MAX_EXTENT_DEPTH);
    let _ = directory_entries(bytes);
    if let Some(inode) = ExtInode::read(bytes) {
        let _ = inode.direct_blocks(12);
    }
    if let Some(layout) = ExtLayout::read(bytes) {
        let _ = layout.inode(ROOT, bytes);
    }
}

fn read_disk(mut disk: &[u8], sector_size: u32) {
    let size = disk.len() as u64;
    let geometry = Geometry { size, sector_size };
    for found in signature::find(disk, u64::from(sector_size)).unwrap() {
        assert!(!found.signature.name.is_empty());
    }
    let content = signature::identify(disk, u64::from(sector_size)).unwrap();
    let _ = content.certain();
    let _ = signature::driver(disk).unwrap();
    let _ = signature::shared(disk).unwrap();
    for offset in linux::superblocks(disk).unwrap() {
        assert!(offset < size);
    }
    let _ = decide::decide(&mut disk, geometry).unwrap();
    let claims = survey::survey(&mut disk, geometry).unwrap().claims;
    for claim in claims {
        assert!(!claim.to_string().is_empty());
    }
    for at in [1, geometry.sectors().saturating_sub(1)] {
        let _ = gpt::claims(&mut disk, geometry, at).unwrap();
        if let Ok(mut gpt) = Gpt::read(&mut disk, geometry, at).unwrap() {
            let _ = gpt.check_fit();
            let _ = gpt.fit();
            let _ = gpt.copies();
        }
    }
    if let Some(record) = Mbr::read(&mut disk, geometry).unwrap() {
        let chain = Logical::read(&mut disk, &record).unwrap();
        let _ = chain.check(geometry);
        let _ = record.check();
    }
    // A disk without the bytes of the identifier is an error of the source.
    let identifier = mbr::disk_identifier(&mut disk);
    assert!(identifier.is_ok() || size < 444);
}

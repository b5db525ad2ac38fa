//! What fills a disk or a partition: which format, its identity as Linux calls it (`UUID`) and
//! its label. The root's identity is reported to Ironic, boot loaders look for it, and a place
//! for a config drive is known by its label.
//!
//! The formats are those of [`ironic_ondisk::signature`], and so is the rule of what counts
//! when several are there. Where the format is not certain, a partition's own identity is
//! reported, as in the Python agent.

use ironic_ondisk::Source;
use ironic_ondisk::read::Area;
use ironic_ondisk::signature::{self, FoundFormat, Signature};

use crate::system::disk::{Disk, DiskError};

/// The identity of what starts at byte `offset` of a disk and has `size` bytes. `None`: it has
/// none, or nobody can tell what it is.
///
/// # Errors
/// What the disk said.
pub fn read(disk: &mut dyn Disk, offset: u64, size: u64) -> Result<Option<String>, DiskError> {
    Ok(certain(disk, offset, size)?.and_then(|found| found.identity.uuid))
}

/// The label, likewise.
///
/// # Errors
/// What the disk said.
pub fn label(disk: &mut dyn Disk, offset: u64, size: u64) -> Result<Option<String>, DiskError> {
    Ok(certain(disk, offset, size)?.and_then(|found| found.identity.label))
}

fn certain(disk: &mut dyn Disk, offset: u64, size: u64) -> Result<Option<FoundFormat>, DiskError> {
    let sector = u64::from(disk.geometry().sector_size);
    let area = Area::new(disk, offset, size);
    Ok(signature::identify(area, sector)?.certain())
}

/// Whether a disk that has no partition table holds a file system that is a disk by itself:
/// one that `parted` shows as its only partition, or a CD.
///
/// # Errors
/// What the source said.
pub fn is_whole_disk<S: Source + ?Sized>(source: &mut S, sector: u64) -> Result<bool, S::Error> {
    let found = signature::find(source, sector)?;
    Ok(found.iter().any(|found| found.signature.is_disk_image))
}

/// What bytes begin with, of which there may be more: `None` if they do not tell. What is
/// written at the end of a file system is not found in its beginning.
#[must_use]
pub fn find(head: &[u8]) -> Option<FoundFormat> {
    // Reading beyond the end tells nothing, and is not an error.
    let content = signature::identify(head, 512).ok()?;
    content.certain()
}

/// Whether bytes begin a file system of a kind that config drives have.
#[must_use]
pub fn is_config_drive(head: &[u8]) -> bool {
    is_iso(head) || is_fat(head) || is_ext(head)
}

/// Whether bytes begin a CD. It may have the other format of CDs, too.
#[must_use]
pub fn is_iso(head: &[u8]) -> bool {
    let found = signature::find(head, 512).unwrap_or_default();
    let mut found = found.iter();
    found.any(|found| is_named(found.signature, &["iso9660"]))
}

/// Whether bytes begin a FAT file system.
#[must_use]
pub fn is_fat(head: &[u8]) -> bool {
    find(head).is_some_and(|found| is_named(found.signature, &["vfat"]))
}

/// Whether bytes begin a file system of ext2, ext3 or ext4.
#[must_use]
pub fn is_ext(head: &[u8]) -> bool {
    find(head).is_some_and(|found| is_named(found.signature, &["ext2", "ext3", "ext4"]))
}

fn is_named(signature: &Signature, names: &[&str]) -> bool {
    names.contains(&signature.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::Programs;
    use crate::system::{Cmd, Run, RunError};

    #[test]
    fn an_identity_lies_where_the_partition_lies() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = vec![0; 4 << 20];
        let start = 1 << 20;
        bytes[start + 1080..start + 1082].copy_from_slice(&[0x53, 0xef]);
        bytes[start + 1128..start + 1144].copy_from_slice(b"0123456789abcdef");
        bytes[start + 1144..start + 1148].copy_from_slice(b"root");
        std::fs::write(file.path(), &bytes).unwrap();
        let mut disk = crate::system::System::linux()
            .disks
            .open(file.path())
            .unwrap();
        let (start, size) = (start as u64, 1 << 20);
        let text = Some("30313233-3435-3637-3839-616263646566".to_owned());
        assert_eq!(read(disk.as_mut(), start, size).unwrap(), text);
        let name = Some("root".to_owned());
        assert_eq!(label(disk.as_mut(), start, size).unwrap(), name);
        assert_eq!(read(disk.as_mut(), 0, size).unwrap(), None);
        // It ends before its superblock does, and the disk before it does.
        assert_eq!(read(disk.as_mut(), start, 2000).unwrap(), None);
        assert_eq!(read(disk.as_mut(), start, u64::MAX).unwrap(), text);
        assert!(!is_whole_disk(disk.as_mut(), 512).unwrap());
    }

    #[test]
    fn kinds_of_config_drives_are_known_by_their_beginning() {
        let fat = crate::machine::block::guarded_filesystem::tests::fat(*b"config-2   ");
        let mut iso = vec![0; 40 << 10];
        iso[32768..32774].copy_from_slice(b"\x01CD001");
        let mut ext = vec![0; 40 << 10];
        ext[1080..1082].copy_from_slice(&[0x53, 0xef]);
        for (head, kinds) in [
            (&fat, [false, true, false]),
            (&iso, [true, false, false]),
            (&ext, [false, false, true]),
        ] {
            assert_eq!([is_iso(head), is_fat(head), is_ext(head)], kinds);
            assert!(is_config_drive(head));
        }
        let label = find(&fat).unwrap().identity.label;
        assert_eq!(label.as_deref(), Some("config-2"));
        assert!(!is_config_drive(&[]) && !is_config_drive(&[0; 4096]));
    }

    #[test]
    fn damaged_input() {
        ironic_fuzz::run("label", |bytes| {
            // One that is certain is the only one.
            let kinds = [is_iso(bytes), is_fat(bytes), is_ext(bytes)];
            assert!(kinds.iter().filter(|is| **is).count() <= 2);
            assert!(!is_fat(bytes) || find(bytes).is_some());
        });
    }

    #[tokio::test]
    async fn the_programs_that_make_them_agree() {
        let wanted = "3e6be9de-8fc1-4c6d-8b2a-102030405060";
        for (program, options) in [
            ("mkfs.ext4", ["-q", "-F", "-U"]),
            ("mkswap", ["-q", "-f", "-U"]),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(8 << 20).unwrap();
            let path = file.path().to_str().unwrap();
            let make = Cmd::new(program).args(options).args([wanted, path]);
            match Programs.run(make).await {
                Err(RunError::Missing { program }) => eprintln!("not checked: {program}"),
                said => {
                    said.unwrap();
                    let head = std::fs::read(file.path()).unwrap();
                    let found = find(&head).unwrap().identity.uuid;
                    assert_eq!(found.as_deref(), Some(wanted), "{program}");
                }
            }
        }
    }
}

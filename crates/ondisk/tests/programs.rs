//! What real programs make, and what others tell about it: `blkid`, `wipefs` and `parted`
//! against the table of signatures.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: it runs programs, and ends where one does not do as it should"
)]

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ironic_ondisk::Source;
use ironic_ondisk::signature::{self, DeviceContent};

/// An image file.
struct Image {
    file: File,
    size: u64,
}

impl Image {
    fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Self { file, size }
    }
}

impl Source for Image {
    type Error = io::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// The programs, and a directory for images.
struct Bench {
    programs: PathBuf,
    directory: tempfile::TempDir,
}

impl Bench {
    /// `None`: there are no programs.
    fn new() -> Option<Self> {
        Some(Self {
            programs: support::programs()?,
            directory: tempfile::tempdir().unwrap(),
        })
    }

    /// Runs a program whose arguments are words; `{}` stands for the image and `{dir}` for a
    /// directory with a file in it.
    fn run(&self, line: &str, image: &Path) -> Output {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let program = self.programs.join(name);
        let tree = self.directory.path().join("tree");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let fill = |word: &str| {
            word.replace("{}", &text(image))
                .replace("{dir}", &text(&tree))
        };
        let mut command = Command::new(&program);
        if name == "mkfs.nilfs2" {
            // It ends without this file, which a minimal system does not have.
            let script =
                "mount -t tmpfs none /etc && ln -s /proc/self/mounts /etc/mtab && exec \"$@\"";
            command = Command::new("unshare");
            command
                .args([
                    "--user",
                    "--map-root-user",
                    "--mount",
                    "sh",
                    "-c",
                    script,
                    "sh",
                ])
                .arg(&program);
        }
        command
            .args(words.map(fill))
            // Some ask whether they may.
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
    }

    /// Makes an image of so many MiB.
    fn image(&self, name: &str, mib: u64, line: &str) -> PathBuf {
        let tree = self.directory.path().join("tree");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("file"), "content").unwrap();
        let path = self.directory.path().join(name);
        let _ = std::fs::remove_file(&path);
        if mib > 0 {
            File::create(&path).unwrap().set_len(mib << 20).unwrap();
        }
        let said = self.run(line, &path);
        assert!(said.status.success(), "{line}: {said:?}");
        path
    }

    /// Type, identity and label; `None`: nothing. An error is a type, too.
    fn blkid(&self, image: &Path) -> Option<[String; 3]> {
        let said = self.run("blkid -p -o export {}", image);
        if said.status.code() == Some(8) {
            return Some(["ambiguous".to_owned(), String::new(), String::new()]);
        }
        let text = String::from_utf8(said.stdout).unwrap();
        let value = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().replace('\\', "")
        };
        Some(["TYPE", "UUID", "LABEL"].map(value)).filter(|[kind, ..]| !kind.is_empty())
    }

    /// The types of all signatures, without those of partition tables.
    fn wipefs(&self, image: &Path) -> BTreeSet<String> {
        let said = self.run("wipefs -n -J {}", image);
        let text = String::from_utf8(said.stdout).unwrap();
        let types = text.split("\"type\":").skip(1);
        types
            .map(|rest| rest.split('"').nth(1).unwrap().to_owned())
            .filter(|name| !["dos", "gpt", "PMBR", "atari", "mac", "sun"].contains(&name.as_str()))
            .collect()
    }

    /// Images that we take and `parted` does not show: CDs, FAT12, swap areas of other machines.
    fn is_more_than_parted_knows(&self, image: &Path) -> bool {
        let said = self.run("blkid -p -o value -s TYPE -s VERSION {}", image);
        let text = String::from_utf8_lossy(&said.stdout);
        ["iso9660", "FAT12", "swap"]
            .iter()
            .any(|word| text.lines().any(|line| line == *word))
    }

    /// Whether `parted` shows one partition that is the whole image.
    fn is_loop(&self, image: &Path) -> bool {
        let said = self.run("parted -s -m {} unit B print", image);
        let text = String::from_utf8_lossy(&said.stdout);
        text.contains(":loop:") && text.lines().any(|line| line.starts_with("1:0B:"))
    }
}

fn ours(image: &Path) -> Option<[String; 3]> {
    match signature::identify(Image::open(image), 512).unwrap() {
        DeviceContent::Nothing => None,
        DeviceContent::Ambiguous(_) => Some(["ambiguous".to_owned(), String::new(), String::new()]),
        DeviceContent::Is(found) => Some([
            found.signature.name.to_owned(),
            found.identity.uuid.unwrap_or_default(),
            found.identity.label.unwrap_or_default(),
        ]),
    }
}

/// Name, MiB (0: the program makes the file) and the line that makes it.
const IMAGES: &[(&str, u64, &str)] = &[
    ("ext2", 8, "mke2fs -q -F -t ext2 -L second {}"),
    ("ext2 blocks of 4096", 16, "mke2fs -q -F -t ext2 -b 4096 {}"),
    ("ext3", 16, "mke2fs -q -F -t ext3 -L third {}"),
    ("ext4", 16, "mke2fs -q -F -t ext4 -L root {}"),
    (
        "ext4 without journal",
        16,
        "mke2fs -q -F -t ext4 -O ^has_journal {}",
    ),
    (
        "ext4 without checksums",
        16,
        "mke2fs -q -F -t ext4 -O ^metadata_csum,^64bit -L plain {}",
    ),
    (
        "ext4 without identity",
        16,
        "mke2fs -q -F -t ext4 -U clear {}",
    ),
    ("ext journal", 16, "mke2fs -q -F -O journal_dev {}"),
    (
        "ext4 with 64 KiB blocks",
        64,
        "mke2fs -q -F -F -t ext4 -b 65536 {}",
    ),
    ("xfs", 320, "mkfs.xfs -q -L root {}"),
    ("xfs sectors of 4096", 320, "mkfs.xfs -q -s size=4096 {}"),
    ("xfs blocks of 1024", 320, "mkfs.xfs -q -b size=1024 {}"),
    (
        "xfs without checksums",
        320,
        "mkfs.xfs -q -m crc=0 -L old {}",
    ),
    ("btrfs", 128, "mkfs.btrfs -q -L root {}"),
    ("btrfs mixed", 16, "mkfs.btrfs -q -M {}"),
    ("btrfs sha256", 128, "mkfs.btrfs -q --csum sha256 {}"),
    ("f2fs", 64, "mkfs.f2fs -q -l root {}"),
    ("f2fs without label", 64, "mkfs.f2fs -q {}"),
    ("fat12", 4, "mkfs.vfat -F 12 -n TWELVE {}"),
    ("fat16", 32, "mkfs.vfat -F 16 -n SIXTEEN {}"),
    ("fat32", 64, "mkfs.vfat -F 32 -n THIRTYTWO {}"),
    ("fat32 small", 4, "mkfs.vfat -F 32 -s 1 {}"),
    ("fat without label", 16, "mkfs.vfat {}"),
    ("fat one table", 16, "mkfs.vfat -f 1 -n ONE {}"),
    ("fat three tables", 16, "mkfs.vfat -f 3 {}"),
    ("fat32 one table", 64, "mkfs.vfat -F 32 -f 1 {}"),
    ("fat medium f0", 4, "mkfs.vfat -M 0xf0 -n MEDIUM {}"),
    ("fat medium f9", 4, "mkfs.vfat -M 0xf9 {}"),
    ("fat medium ff", 64, "mkfs.vfat -F 32 -M 0xff {}"),
    ("fat sectors of 1024", 16, "mkfs.vfat -S 1024 {}"),
    (
        "fat sectors of 4096",
        64,
        "mkfs.vfat -S 4096 -F 32 -n LARGE {}",
    ),
    ("fat clusters of 64 KiB", 64, "mkfs.vfat -s 128 {}"),
    (
        "fat serial number zero",
        4,
        "mkfs.vfat -i 00000000 -n ZERO {}",
    ),
    (
        "fat32 serial number zero",
        64,
        "mkfs.vfat -F 32 -i 00000000 {}",
    ),
    ("fat reserved sectors", 64, "mkfs.vfat -F 32 -R 64 {}"),
    ("fat as atari does", 16, "mkfs.vfat -A {}"),
    ("floppy of 1440 KiB", 0, "mkfs.vfat -n FLOPPY -C {} 1440"),
    ("floppy of 720 KiB", 0, "mkfs.vfat -C {} 720"),
    ("floppy of 360 KiB", 0, "mkfs.vfat -C {} 360"),
    ("ntfs", 16, "mkntfs -q -F -f -L windows {}"),
    ("ntfs clusters of 64 KiB", 64, "mkntfs -q -F -f -c 65536 {}"),
    ("ntfs sectors of 4096", 64, "mkntfs -q -F -f -s 4096 {}"),
    ("exfat", 16, "mkfs.exfat -L stick {}"),
    ("exfat without label", 64, "mkfs.exfat {}"),
    ("exfat clusters of 1 MiB", 256, "mkfs.exfat -c 1M {}"),
    ("udf", 16, "mkudffs --media-type=hd -l volume {}"),
    (
        "udf blocks of 2048",
        16,
        "mkudffs --media-type=hd -b 2048 {}",
    ),
    (
        "udf blocks of 4096",
        32,
        "mkudffs --media-type=hd -b 4096 -l large {}",
    ),
    (
        "udf version 1.02",
        16,
        "mkudffs --media-type=hd -r 0x0102 {}",
    ),
    ("udf of a dvd", 16, "mkudffs --media-type=dvdram {}"),
    ("cd", 0, "genisoimage -quiet -V plain -o {} {dir}"),
    (
        "cd joliet",
        0,
        "genisoimage -quiet -J -V joliet -o {} {dir}",
    ),
    (
        "cd rock ridge",
        0,
        "genisoimage -quiet -R -J -V both -o {} {dir}",
    ),
    ("cd without label", 0, "genisoimage -quiet -o {} {dir}"),
    (
        "cd with udf",
        0,
        "genisoimage -quiet -udf -J -V bridge -o {} {dir}",
    ),
    (
        "cd by xorriso",
        0,
        "xorriso -outdev {} -volid XORRISO -map {dir} /",
    ),
    ("swap", 1, "mkswap -q -L swap {}"),
    ("swap without label", 8, "mkswap -q {}"),
    ("swap pages of 8 KiB", 1, "mkswap -q -p 8192 -L larger {}"),
    ("swap pages of 16 KiB", 1, "mkswap -q -p 16384 {}"),
    ("swap pages of 32 KiB", 2, "mkswap -q -p 32768 {}"),
    (
        "swap pages of 64 KiB",
        8,
        "mkswap -q -p 65536 -L largest {}",
    ),
    ("squashfs", 0, "mksquashfs {dir} {} -quiet -no-progress"),
    ("erofs", 0, "mkfs.erofs {} {dir}"),
    (
        "erofs with an identity",
        0,
        "mkfs.erofs -U 3e6be9de-8fc1-4c6d-8b2a-102030405060 {} {dir}",
    ),
    ("gfs2", 64, "mkfs.gfs2 -O -q -j 1 -J 8 -p lock_nolock {}"),
    (
        "gfs2 of a cluster",
        64,
        "mkfs.gfs2 -O -q -j 1 -J 8 -p lock_dlm -t cluster:files {}",
    ),
    ("jfs", 32, "mkfs.jfs -q -L root {}"),
    ("reiserfs", 64, "mkfs.reiserfs -q -ff -l root {}"),
    ("reiserfs 3.5", 64, "mkfs.reiserfs -q -ff --format 3.5 {}"),
    ("nilfs2", 130, "mkfs.nilfs2 -q -L root {}"),
    ("minix", 4, "mkfs.minix {}"),
    ("minix 2", 4, "mkfs.minix -2 {}"),
    ("minix 3", 4, "mkfs.minix -3 {}"),
    ("cramfs", 0, "mkfs.cramfs -n name {dir} {}"),
    ("bfs", 1, "mkfs.bfs {}"),
    ("bcache", 16, "make-bcache -B {}"),
    ("bcache of a cache", 64, "make-bcache -C {}"),
    ("verity", 4, "veritysetup format {} {}.hash"),
    (
        "luks1",
        8,
        "cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file {dir}/file {}",
    ),
    (
        "luks2",
        32,
        "cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label vault --key-file {dir}/file {}",
    ),
];

/// Makes all of them.
fn made(bench: &Bench) -> Vec<(&'static str, PathBuf)> {
    IMAGES
        .iter()
        .map(|(name, mib, line)| {
            let file = name.replace(' ', "-");
            (*name, bench.image(&file, *mib, line))
        })
        .collect()
}

#[test]
fn every_image_is_what_the_programs_of_linux_say() {
    let Some(bench) = Bench::new() else { return };
    let images = made(&bench);
    assert!(images.len() >= 60, "{}", images.len());
    let mut wrong = Vec::new();
    for (name, image) in &images {
        let (said, theirs) = (ours(image), bench.blkid(image));
        if said != theirs {
            wrong.push(format!("{name}: blkid {theirs:?}, we {said:?}"));
        }
        let found = signature::find(Image::open(image), 512).unwrap();
        let kinds: BTreeSet<_> = found
            .iter()
            .map(|found| found.signature.name.to_owned())
            .collect();
        let mut listed = bench.wipefs(image);
        // Of a CD that has both formats it lists one.
        if listed.contains("udf") && kinds.contains("iso9660") {
            listed.insert("iso9660".to_owned());
        }
        if kinds != listed {
            wrong.push(format!("{name}: wipefs {listed:?}, we {kinds:?}"));
        }
        let is_image = found.iter().any(|found| found.signature.is_disk_image);
        let is_loop = bench.is_loop(image);
        if is_image != (is_loop || bench.is_more_than_parted_knows(image)) {
            wrong.push(format!("{name}: parted shows it {is_loop}, we {is_image}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The beginning and the end of images, where all of their marks are.
const HEAD: usize = 2 << 20;
const TAIL: usize = 256 << 10;
/// What is laid over each other. All have the same size.
const SIZE: u64 = 130;
const MIXED: &[&str] = &[
    "ext4", "xfs", "btrfs", "fat16", "ntfs", "exfat", "udf", "swap", "gfs2", "jfs", "nilfs2",
    "luks1", "luks2", "bcache", "f2fs", "minix",
];

fn ends(image: &Path) -> (Vec<u8>, Vec<u8>) {
    let file = File::open(image).unwrap();
    let size = file.metadata().unwrap().len();
    let (mut head, mut tail) = (vec![0; HEAD], vec![0; TAIL]);
    file.read_exact_at(&mut head, 0).unwrap();
    file.read_exact_at(&mut tail, size - TAIL as u64).unwrap();
    (head, tail)
}

/// What was there shows in the sectors in which the new has nothing.
fn over(new: &[u8], old: &[u8]) -> Vec<u8> {
    let sectors = new.chunks(512).zip(old.chunks(512));
    let visible = sectors.map(|(new, old)| {
        let is_empty = new.iter().all(|byte| *byte == 0);
        if is_empty { old } else { new }
    });
    visible.collect::<Vec<_>>().concat()
}

/// Each format over each other one, as after a program that wipes nothing.
#[test]
fn what_was_there_earlier_counts_as_the_programs_of_linux_say() {
    let Some(bench) = Bench::new() else { return };
    let images: Vec<_> = IMAGES
        .iter()
        .filter(|(name, ..)| MIXED.contains(name))
        .map(|(name, _, line)| {
            (
                *name,
                ends(&bench.image(name, SIZE.max(320 * u64::from(*name == "xfs")), line)),
            )
        })
        .collect();
    assert_eq!(images.len(), MIXED.len());
    let path = bench.directory.path().join("mixed");
    let (mut wrong, mut ambiguous) = (Vec::new(), 0);
    for (new, (new_head, new_tail)) in &images {
        for (old, (old_head, old_tail)) in &images {
            let file = File::create(&path).unwrap();
            file.set_len(SIZE << 20).unwrap();
            file.write_all_at(&over(new_head, old_head), 0).unwrap();
            let end = (SIZE << 20) - TAIL as u64;
            file.write_all_at(&over(new_tail, old_tail), end).unwrap();
            let (said, theirs) = (ours(&path), bench.blkid(&path));
            ambiguous += usize::from(
                theirs
                    .as_ref()
                    .is_some_and(|[kind, ..]| kind == "ambiguous"),
            );
            // The second header of a LUKS2 volume whose first one is gone: what older versions
            // found newer ones, and we, do not.
            let is_second = *old == "luks2"
                && theirs
                    .as_ref()
                    .is_some_and(|[kind, ..]| kind == "crypto_LUKS");
            if said != theirs && !is_second {
                wrong.push(format!("{new} over {old}: blkid {theirs:?}, we {said:?}"));
            }
        }
    }
    assert!(ambiguous > 50, "{ambiguous}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

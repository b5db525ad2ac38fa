//! File systems of the deployed system, mounted for a moment.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::system::{Cmd, RunError, System};

/// How often a file system that is busy is asked to go.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Enough to see what a file system is.
const HEAD: u64 = 68 << 10;
/// File systems of deployed systems, by where they say what they are. ext2 and ext3 are
/// mounted by ext4's driver.
const KINDS: [(&str, usize, &[u8]); 6] = [
    ("ext4", 1024 + 0x38, &[0x53, 0xef]),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    ("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    ("vfat", 82, b"FAT32"),
    ("vfat", 54, b"FAT1"),
];

/// Mounts `source` at `place`, an absolute path that is made if need be. Answers where that
/// is on this machine.
///
/// Without `-t` among the options the type is looked for: the kernel loads a driver only for
/// a type that it is told.
///
/// # Errors
/// What the system or `mount` said.
pub async fn mount(
    system: &System,
    options: &[&str],
    source: &str,
    place: &str,
) -> Result<PathBuf, RunError> {
    let path = system.root.path(place);
    let shown = path.display().to_string();
    let is_plain = !options.iter().any(|option| ["-t", "bind"].contains(option));
    let device = system.root.path(source);
    let kind = if is_plain {
        // Blocks for a moment at most.
        let found = tokio::task::spawn_blocking(move || kind_of(&device)).await;
        found.ok().flatten()
    } else {
        None
    };
    let cmd = Cmd::new("mount")
        .args(kind.into_iter().flat_map(|kind| ["-t", kind]))
        .args(options.iter().copied())
        .args([source, &shown]);
    let made = system.root.writable(place).and_then(fs::create_dir_all);
    made.map_err(|error| RunError::Broken {
        command: cmd.to_string(),
        reason: error.to_string(),
    })?;
    system.run.run(cmd).await?;
    Ok(path)
}

/// Unmounts what is at `place`. It may stay busy for a moment.
///
/// # Errors
/// The last of three refusals.
pub async fn unmount(system: &System, place: &str) -> Result<(), RunError> {
    let shown = system.root.path(place).display().to_string();
    let mut attempt = 1;
    loop {
        match system.run.run(Cmd::new("umount").arg(&shown)).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn kind_of(device: &Path) -> Option<&'static str> {
    let mut head = Vec::new();
    File::open(device)
        .ok()?
        .take(HEAD)
        .read_to_end(&mut head)
        .ok()?;
    let found = KINDS
        .iter()
        .find(|(_, at, magic)| head.get(*at..at + magic.len()) == Some(*magic));
    found.map(|(kind, ..)| *kind)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::Script;

    #[tokio::test]
    async fn the_kernel_is_told_what_it_mounts() {
        for (kind, at, magic) in KINDS {
            let mut machine = FakeMachine::new();
            let mut head = vec![0; 70 << 10];
            head[at..at + magic.len()].copy_from_slice(magic);
            machine.bytes("dev/sda1", &head);
            let place = machine.path().join("mnt").display().to_string();
            let script = Arc::new(
                Script::new()
                    .expect(&format!("mount -t {kind} -o ro /dev/sda1 {place}"), "")
                    .expect(&format!("mount -t sysfs /dev/sda1 {place}"), "")
                    .expect(&format!("mount -o bind /dev/sda1 {place}"), "")
                    .expect(&format!("mount -o ro LABEL=x {place}"), ""),
            );
            let system = machine.system_with(script.clone());
            for (options, source) in [
                (["-o", "ro"], "/dev/sda1"),
                (["-t", "sysfs"], "/dev/sda1"),
                (["-o", "bind"], "/dev/sda1"),
                (["-o", "ro"], "LABEL=x"),
            ] {
                mount(&system, &options, source, "/mnt").await.unwrap();
            }
            script.assert_done();
        }
    }

    #[test]
    fn what_is_unknown_or_short_has_no_type() {
        let dir = tempfile::tempdir().unwrap();
        for content in [&b""[..], b"LVM2", &[0; 4096]] {
            let path = dir.path().join("device");
            fs::write(&path, content).unwrap();
            assert_eq!(kind_of(&path), None);
        }
        assert_eq!(kind_of(&dir.path().join("none")), None);
    }
}

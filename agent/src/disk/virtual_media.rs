//! Virtual media: what Ironic hands to a machine that it boots from an image which the BMC
//! plays as a drive. There may be further parameters of the agent, and files of its
//! configuration, for example the certificate by which Ironic's API is believed.
//!
//! Only a medium that a BMC could play is read: a CD, or a small disk on USB. A label on a
//! disk of the machine, which the last tenant may have written, means nothing.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ironic_ondisk::read::Area;
use ironic_ondisk::signature::{self, Found};
use ironic_options::virtual_media::{DIRECTORY, PARAMETERS};
use thiserror::Error;

use crate::disk::filesystem::mount::{mount, unmount};
use crate::machine::block::LARGEST_VIRTUAL_MEDIUM;
use crate::machine::block::guarded_filesystem::Device;
use crate::system::{RunError, System};

const PARAMETERS_LABEL: &str = "ir-vfd-dev";
const FILES_LABELS: [&str; 2] = ["config-2", "vmedia_boot_iso"];
const MODEL: &str = "virtual media";
/// Directories whose files are copied to the same places here.
const DIRECTORIES: [&str; 2] = ["etc/ironic-python-agent", "etc/ironic-python-agent.d"];
/// The label is within this; a CD may not be readable to its end.
const HEAD: u64 = 64 << 20;
const CD_HEAD: u64 = 1 << 20;
/// The kind of SCSI device that CDs are.
const CD: &str = "5";

/// What a medium could not give.
#[derive(Debug, Error)]
pub enum MediumError {
    /// It cannot be mounted.
    #[error("virtual media {device}: {source}")]
    Mount {
        /// The drive.
        device: String,
        /// What `mount` said.
        source: RunError,
    },
    /// A file of it cannot be taken over.
    #[error("{path} of virtual media cannot be copied: {source}")]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A drive that a BMC may play.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Medium {
    device: String,
    kind: &'static str,
    label: String,
    model: String,
}

/// Takes parameters and files over from the media that are there; without any, nothing.
/// `program` keeps those apart who do so at the same time.
///
/// # Errors
/// A medium is there and cannot be read.
pub async fn take(system: &System, program: &str) -> Result<(), MediumError> {
    let media = probe(system);
    let labelled = |label: &str| {
        let mut all = media.iter();
        all.find(|medium| medium.label.eq_ignore_ascii_case(label))
    };
    let named = || media.iter().find(|medium| medium.model.contains(MODEL));
    if let Some(medium) = labelled(PARAMETERS_LABEL).or_else(named) {
        visit(system, medium, program, |mounted| {
            let from = mounted.join(PARAMETERS);
            let place = system.root.path(DIRECTORY);
            // The token may be among them.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&place);
            match made.and_then(|()| copy(&from, &place.join(PARAMETERS), program)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.map_err(|source| MediumError::Copy { path: from, source }),
            }
        })
        .await?;
    }
    if let Some(medium) = FILES_LABELS.iter().find_map(|label| labelled(label)) {
        visit(system, medium, program, |mounted| {
            DIRECTORIES
                .iter()
                .try_for_each(|directory| copy_files(system, mounted, directory, program))
        })
        .await?;
    }
    Ok(())
}

async fn visit(
    system: &System,
    medium: &Medium,
    program: &str,
    work: impl FnOnce(&Path) -> Result<(), MediumError>,
) -> Result<(), MediumError> {
    let device = &medium.device;
    let place = format!("{DIRECTORY}/{program}");
    let options = ["-t", medium.kind, "-o", "ro,nodev,nosuid,noexec"];
    // The kernel refuses to mount a drive read-only that other software left mounted for
    // writing; what that software mounted is shown here, too.
    let elsewhere = Mounted::read(system)
        .into_iter()
        .find(|mounted| mounted.source == *device);
    let shown = match elsewhere {
        Some(Mounted { place: other, .. }) => {
            mount(system, &["-o", "bind"], &other, &place).await.ok()
        }
        None => None,
    };
    let mounted = match shown {
        Some(mounted) => Ok(mounted),
        None => mount(system, &options, device, &place).await,
    };
    let mounted = mounted.map_err(|source| MediumError::Mount {
        device: device.clone(),
        source,
    })?;
    let done = work(&mounted);
    if let Err(error) = unmount(system, &place).await {
        tracing::warn!(%device, %error, "virtual media stay mounted");
    }
    done
}

/// Where cloud-init, glean and the like mount a configuration drive.
const CONFIG_DRIVE: &str = "/mnt/config";
/// How many mounts on top of each other are undone.
const LAYERS: usize = 16;

/// Unmounts the configuration drive that other software of the ramdisk left mounted: a disk
/// with a mounted file system can be neither erased nor written.
pub async fn release_config_drive(system: &System) {
    for _ in 0..LAYERS {
        let mounted = Mounted::read(system);
        let Some(Mounted { source, .. }) = mounted.iter().find(|found| found.place == CONFIG_DRIVE)
        else {
            return;
        };
        tracing::info!(device = %source, place = CONFIG_DRIVE, "unmounting the configuration drive");
        if let Err(error) = unmount(system, CONFIG_DRIVE).await {
            tracing::warn!(device = %source, %error, "the configuration drive stays mounted");
            return;
        }
    }
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    /// The device.
    source: String,
    /// The directory.
    place: String,
}

impl Mounted {
    /// All that are mounted, the latest first.
    fn read(system: &System) -> Vec<Self> {
        let text = system
            .root
            .read_optional("/proc/self/mounts")
            .unwrap_or_default();
        // Blanks within names are written as octal numbers.
        let plain = |text: &str| text.replace("\\040", " ").replace("\\011", "\t");
        let mut all: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                let (source, place) = (plain(fields.next()?), plain(fields.next()?));
                Some(Self { source, place })
            })
            .collect();
        all.reverse();
        all
    }
}

fn copy_files(
    system: &System,
    mounted: &Path,
    directory: &str,
    program: &str,
) -> Result<(), MediumError> {
    let from = mounted.join(directory);
    let to = system.root.path(directory);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MediumError::Copy { path, source }
    };
    let entries = match fs::read_dir(&from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&from)(error)),
    };
    fs::create_dir_all(&to).map_err(failed(&to))?;
    for entry in entries {
        let entry = entry.map_err(failed(&from))?;
        let path = entry.path();
        // No directories below, and no links out of the medium.
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            copy(&path, &to.join(entry.file_name()), program).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// Copies a file at once: another program may be reading it, or copying the same.
fn copy(from: &Path, to: &Path, program: &str) -> io::Result<()> {
    let content = fs::read(from)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(format!(".{program}"));
    let aside = to.with_file_name(name);
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(&content)?;
    fs::rename(aside, to)
}

/// The drives that a BMC may play, by name.
fn probe(system: &System) -> Vec<Medium> {
    let root = &system.root;
    let read = |name: &str| {
        let directory = format!("/sys/block/{name}");
        let told = |attribute: &str| root.read_optional(format!("{directory}/{attribute}"));
        let size = told("size")?.parse::<u64>().ok()?.checked_mul(512)?;
        let is_cd = told("device/type").as_deref().map(str::trim) == Some(CD);
        let on_usb = fs::canonicalize(root.path(&directory)).is_ok_and(|path| {
            let mut parts = path.components();
            parts.any(|part| part.as_os_str().to_string_lossy().starts_with("usb"))
        });
        if size == 0 || !(is_cd || on_usb && size < LARGEST_VIRTUAL_MEDIUM) {
            return None;
        }
        let device = format!("/dev/{name}");
        let medium = Device::open(&root.path(&device)).ok()?;
        let head = Area::new(medium, 0, if is_cd { CD_HEAD } else { HEAD });
        let found = signature::find(head, 512).ok()?;
        let is_iso = |found: &&Found| found.signature.name == "iso9660";
        // A CD may have both formats of CDs; that of the kernel is this one.
        let found = found.iter().find(is_iso).or_else(|| found.first());
        Some(Medium {
            device,
            kind: found
                .and_then(|found| found.signature.driver)
                .unwrap_or("vfat"),
            label: found
                .and_then(|found| found.identity.label.clone())
                .unwrap_or_default(),
            model: told("device/model")
                .unwrap_or_default()
                .to_ascii_lowercase(),
        })
    };
    root.names("/sys/block")
        .iter()
        .filter_map(|name| read(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::Script;

    const SECTORS: u64 = 2048;

    fn iso(label: &str) -> Vec<u8> {
        let mut head = vec![0; 40 << 10];
        head[32768..32774].copy_from_slice(b"\x01CD001");
        head[32808..32840].fill(b' ');
        head[32808..32808 + label.len()].copy_from_slice(label.as_bytes());
        head
    }

    fn fat(label: &[u8; 11]) -> Vec<u8> {
        crate::machine::block::guarded_filesystem::tests::fat(*label)
    }

    /// A drive of this kind at this place in the tree of devices.
    fn drive(
        machine: &mut FakeMachine,
        name: &str,
        bus: &str,
        kind: &str,
        sectors: u64,
        head: &[u8],
    ) {
        let path = format!("sys/devices/pci0000:00/{bus}/block/{name}");
        machine
            .file(&format!("{path}/size"), &sectors.to_string())
            .file(&format!("{path}/device/type"), kind)
            .file(&format!("{path}/device/model"), "DRIVE")
            .link(&format!("sys/block/{name}"), &path)
            .bytes(&format!("dev/{name}"), head);
    }

    fn place(machine: &FakeMachine) -> String {
        let place = machine.path().join("run/ironic-virtual-media/ironic-agent");
        place.display().to_string()
    }

    async fn taken(machine: &FakeMachine, mounts: &[&str]) -> Result<(), MediumError> {
        let place = place(machine);
        let script = mounts.iter().fold(Script::new(), |script, mounted| {
            let options = "-o ro,nodev,nosuid,noexec";
            let (kind, device) = mounted.split_once(' ').unwrap();
            script
                .expect(&format!("mount -t {kind} {options} {device} {place}"), "")
                .expect(&format!("umount {place}"), "")
        });
        let script = Arc::new(script);
        let done = take(&machine.system_with(script.clone()), "ironic-agent").await;
        script.assert_done();
        done
    }

    const INSIDE: &str = "run/ironic-virtual-media/ironic-agent";

    fn read(machine: &FakeMachine, path: &str) -> Option<String> {
        fs::read_to_string(machine.path().join(path)).ok()
    }

    #[tokio::test]
    async fn parameters_and_files_are_taken_over() {
        let mut machine = FakeMachine::new();
        drive(
            &mut machine,
            "sda",
            "usb1/1-1",
            "0",
            SECTORS,
            &fat(b"IR-VFD-DEV "),
        );
        drive(
            &mut machine,
            "sr0",
            "ata1",
            CD,
            SECTORS,
            &iso("VMEDIA_BOOT_ISO"),
        );
        let etc = format!("{INSIDE}/etc");
        machine
            .file(&format!("{INSIDE}/parameters.txt"), "ipa-debug=1")
            .file(&format!("{etc}/ironic-python-agent/ironic.crt"), "PEM")
            .file(
                &format!("{etc}/ironic-python-agent.d/tls.conf"),
                "[DEFAULT]",
            )
            .file(&format!("{etc}/ironic-python-agent.d/deep/er"), "no")
            .link(&format!("{etc}/ironic-python-agent/link"), "etc/secret")
            .file("etc/secret", "ours");
        taken(&machine, &["vfat /dev/sda", "iso9660 /dev/sr0"])
            .await
            .unwrap();
        let parameters = read(&machine, "run/ironic-virtual-media/parameters.txt");
        assert_eq!(parameters.as_deref(), Some("ipa-debug=1\n"));
        let certificate = read(&machine, "etc/ironic-python-agent/ironic.crt");
        assert_eq!(certificate.as_deref(), Some("PEM\n"));
        let root = &machine.system().root;
        assert_eq!(root.names("/etc/ironic-python-agent"), ["ironic.crt"]);
        assert_eq!(root.names("/etc/ironic-python-agent.d"), ["tls.conf"]);
    }

    #[tokio::test]
    async fn only_what_a_bmc_may_play_is_read() {
        let mut machine = FakeMachine::new();
        let parameters = fat(b"IR-VFD-DEV ");
        // A disk of the machine, one that is too large, and one without a medium.
        drive(&mut machine, "sda", "ata1", "0", SECTORS, &parameters);
        drive(
            &mut machine,
            "sdb",
            "usb1/1-1",
            "0",
            LARGEST_VIRTUAL_MEDIUM / 512,
            &parameters,
        );
        drive(&mut machine, "sr0", "ata2", CD, 0, &parameters);
        taken(&machine, &[]).await.unwrap();
        assert_eq!(
            read(&machine, "run/ironic-virtual-media/parameters.txt"),
            None
        );

        // The model may say it, and there may be nothing on it.
        drive(
            &mut machine,
            "sdc",
            "usb1/1-2",
            "0",
            SECTORS,
            &fat(b"NO NAME    "),
        );
        let model = "sys/devices/pci0000:00/usb1/1-2/block/sdc/device/model";
        machine.file(model, "Virtual Media 2");
        taken(&machine, &["vfat /dev/sdc"]).await.unwrap();
        assert_eq!(
            read(&machine, "run/ironic-virtual-media/parameters.txt"),
            None
        );
    }

    #[tokio::test]
    async fn a_drive_that_is_mounted_already_is_used_where_it_is() {
        let mut machine = FakeMachine::new();
        drive(&mut machine, "sr0", "ata1", CD, SECTORS, &iso("config-2"));
        machine
            .file(
                "proc/self/mounts",
                "/dev/sda1 / ext4 rw 0 0\n/dev/sr0 /mnt/config iso9660 rw 0 0",
            )
            .file(
                &format!("{INSIDE}/etc/ironic-python-agent.d/tls.conf"),
                "[DEFAULT]",
            );
        let place = place(&machine);
        let script = Arc::new(
            Script::new()
                .expect(&format!("mount -o bind /mnt/config {place}"), "")
                .expect(&format!("umount {place}"), ""),
        );
        let system = machine.system_with(script.clone());
        take(&system, "ironic-agent").await.unwrap();
        script.assert_done();
        assert_eq!(
            system.root.names("/etc/ironic-python-agent.d"),
            ["tls.conf"]
        );
    }

    /// A machine whose `umount` takes the last line away from the list of mounts.
    #[derive(Debug)]
    struct Unmounts {
        list: std::path::PathBuf,
        refuses: bool,
        calls: std::sync::Mutex<Vec<String>>,
    }

    impl crate::system::Run for Unmounts {
        fn run(
            &self,
            cmd: crate::system::Cmd,
        ) -> futures_util::future::BoxFuture<'_, Result<crate::system::Output, RunError>> {
            self.calls.lock().unwrap().push(cmd.to_string());
            let answer = if self.refuses {
                Err(RunError::Failed {
                    program: "umount".to_owned(),
                    command: cmd.to_string(),
                    status: 32,
                    stderr: "target is busy".to_owned(),
                })
            } else {
                let text = fs::read_to_string(&self.list).unwrap();
                let mut lines: Vec<_> = text.lines().collect();
                lines.pop();
                fs::write(&self.list, lines.join("\n")).unwrap();
                Ok(crate::system::Output::default())
            };
            Box::pin(async { answer })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_config_drive_that_others_left_mounted_is_unmounted() {
        for (mounts, refuses, calls) in [
            ("/dev/sda1 / ext4 rw 0 0", false, 0),
            (
                "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /mnt/config iso9660 ro 0 0",
                false,
                1,
            ),
            (
                "/dev/sdb1 /mnt/config iso9660 ro 0 0\n/dev/sdc /mnt/config vfat ro 0 0",
                false,
                2,
            ),
            ("/dev/sdb1 /mnt/config\\040b iso9660 ro 0 0", false, 0),
            ("/dev/sdb1 /mnt/config iso9660 ro 0 0", true, 3),
        ] {
            let mut machine = FakeMachine::new();
            machine.file("proc/self/mounts", mounts);
            let run = Arc::new(Unmounts {
                list: machine.path().join("proc/self/mounts"),
                refuses,
                calls: std::sync::Mutex::default(),
            });
            release_config_drive(&machine.system_with(run.clone())).await;
            let place = machine.path().join("mnt/config").display().to_string();
            let expected = vec![format!("umount {place}"); calls];
            assert_eq!(*run.calls.lock().unwrap(), expected, "{mounts}");
        }
    }

    #[tokio::test]
    async fn a_medium_that_cannot_be_read_is_an_error() {
        let mut machine = FakeMachine::new();
        drive(&mut machine, "sr0", "ata1", CD, SECTORS, &iso("config-2"));
        let mount = format!(
            "mount -t iso9660 -o ro,nodev,nosuid,noexec /dev/sr0 {}",
            place(&machine)
        );
        let refused = RunError::Failed {
            program: "mount".to_owned(),
            command: mount.clone(),
            status: 32,
            stderr: "bad superblock".to_owned(),
        };
        let script = Arc::new(Script::new().expect_result(&mount, Err(refused)));
        let error = take(&machine.system_with(script), "ironic-agent").await;
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("virtual media /dev/sr0: "), "{error}");
    }
}

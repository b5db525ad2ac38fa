//! GRUB for partition images: the image brings its own, and it is run inside the image. That
//! is the tenant's code as root (CVE-2026-43003), so an operator has to allow it, and it is
//! [sandbox]: it sees the disks that it is for, and nothing else of the machine.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ironic_text::error_chain;
use tokio::time::Instant;

use crate::disk::boot::arguments::name_arrays;
use crate::disk::boot::error::{BootCause, BootError};
use crate::disk::boot::image::{ROOT, SYSTEM, enter_fstab, fstab_line};
use crate::disk::boot::layout::LocatedPartition;
use crate::disk::filesystem::mount::{mount_system, unmount};
use crate::machine::connected_nodes;
use crate::system::foreign_root::ForeignRoot;
use crate::system::sandbox::{self, VisibleDevices};
use crate::system::{Output, PathPrefix, System};
use crate::task::{Progress, Task};

/// What installing a boot loader is called where progress is shown.
pub const PHASE: &str = "install_bootloader";
/// Time between two reports of a program that runs.
const TICK: Duration = Duration::from_secs(1);
/// Reports between two lines of the command's log.
const LINES: u64 = 10;
/// What is mounted over for it, on directories of the image.
const COVERED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];
/// A device node of the image would lead to a disk that is not for it.
const NO_NODES: &str = "nodev,nosuid";
/// Neither other systems nor the last choice are for a menu that is made here.
const QUIET: [&str; 2] = ["GRUB_DISABLE_OS_PROBER=true", "GRUB_SAVEDEFAULT=true"];

/// What is installed where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrubInstall {
    /// The disk, for messages.
    pub disk: String,
    /// The node of the image's root file system.
    pub root: String,
    /// The EFI system partition, on machines that have one.
    pub esp: Option<LocatedPartition>,
    /// The disks or partitions that get GRUB's first stage where there is no EFI system
    /// partition.
    pub targets: Vec<String>,
    /// Whether the root file system is on software RAID.
    pub is_array: bool,
    /// The kind of firmware that GRUB is made for, in GRUB's words, where it is not the kind
    /// that this ramdisk was booted by: GRUB takes that otherwise.
    pub platform: Option<&'static str>,
    /// Names by which GRUB looks for partitions, with their nodes. Only what is found by its
    /// name is found again after the machine has other disks: GRUB's menu says `root=UUID=`.
    pub names: BTreeMap<String, String>,
}

impl GrubInstall {
    /// What GRUB must see.
    fn view(&self, root: &PathPrefix) -> VisibleDevices {
        let mut devices = vec![self.disk.as_str(), self.root.as_str()];
        devices.extend(self.esp.iter().map(|esp| esp.node.as_str()));
        devices.extend(self.targets.iter().map(String::as_str));
        VisibleDevices {
            nodes: connected_nodes(root, &devices),
            names: self.names.clone(),
            efi_system: self.esp.as_ref().map(|esp| esp.node.clone()),
        }
    }
}

/// Runs the image's GRUB. Whatever happens, nothing stays mounted.
///
/// # Errors
/// The program that failed.
pub async fn install(system: &System, order: &GrubInstall, task: &Task) -> Result<(), BootError> {
    let failed = |source| BootError::Grub {
        device: order.disk.clone(),
        source,
    };
    task.check()?;
    mount_system(system, NO_NODES, &order.root, ROOT, SYSTEM)
        .await
        .map_err(|error| failed(error.into()))?;
    let done = inside(system, order, task).await;
    // The deployed system could miss what is not unmounted.
    let unmounted = unmount(system, ROOT).await;
    task.check()?;
    done.map_err(failed)?;
    unmounted.map_err(|error| failed(error.into()))?;
    task.phase_ended(format!("GRUB installed on {}", order.disk));
    Ok(())
}

async fn inside(system: &System, order: &GrubInstall, task: &Task) -> Result<(), BootCause> {
    let root = system.root.path(ROOT);
    for directory in COVERED {
        make_mount_point(&root, directory)?;
    }
    let tree = ForeignRoot::open(&root)?;
    let grub = if exists(&root, "usr/sbin/grub2-install") {
        "grub2"
    } else {
        "grub"
    };
    let image = MountedImage {
        system,
        view: order.view(&system.root),
        root,
        disk: &order.disk,
        task,
    };
    image
        .run_installers(order, &format!("{grub}-install"))
        .await?;
    if order.is_array
        && let Err(error) = name_arrays(system, &tree).await
    {
        task.warn(format!(
            "the arrays are not announced to the kernel: {}",
            error_chain(&error)
        ));
    }
    let (maker, menu) = (format!("{grub}-mkconfig"), format!("/boot/{grub}/grub.cfg"));
    image
        .run(&[maker.as_str(), "-o", menu.as_str()], &QUIET)
        .await?;
    if let Some(esp) = &order.esp
        && !esp.uuid.is_empty()
        && let Err(error) = enter_fstab(&tree, &fstab_line(esp))
    {
        tracing::warn!(%error, "/etc/fstab was not changed");
    }
    Ok(())
}

/// The mounted image, in which its own programs are run.
struct MountedImage<'a> {
    system: &'a System,
    root: PathBuf,
    /// What its programs see of the machine.
    view: VisibleDevices,
    /// The disk, for progress.
    disk: &'a str,
    task: &'a Task,
}

impl MountedImage<'_> {
    async fn run(&self, args: &[&str], environment: &[&str]) -> Result<Output, BootCause> {
        let cmd = sandbox::command(&self.root, &self.view, environment, args)?;
        let shown = args.join(" ");
        self.task.say(format!("running {shown}"));
        let done = self.system.run.run(cmd);
        tokio::select! {
            done = done => Ok(done?),
            () = self.task.cancelled() => Err(self.task.cancellation().into()),
            never = tell_time(self.task, self.disk, &shown) => match never {},
        }
    }

    /// Installs GRUB's first stage where the firmware of the target starts it.
    async fn run_installers(&self, order: &GrubInstall, program: &str) -> Result<(), BootCause> {
        if order.esp.is_none() {
            for target in &order.targets {
                self.run(&[program, target.as_str()], &[]).await?;
            }
            return Ok(());
        }
        make_mount_point(&self.root, sandbox::EFI_SYSTEM_MOUNT_POINT)?;
        let platform = order.platform.map(|name| format!("--target={name}"));
        // This ramdisk's firmware has no entries for another kind.
        let entries = platform.is_some().then_some("--no-nvram");
        for removable in [None, Some("--removable")] {
            let options = [platform.as_deref(), entries, removable];
            let args: Vec<&str> = [program]
                .into_iter()
                .chain(options.into_iter().flatten())
                .collect();
            // One of the two works: which depends on the machine's firmware.
            if let Err(error) = self.run(&args, &[]).await {
                self.task.warn(error_chain(&error));
            }
        }
        Ok(())
    }
}

/// Says how long a program runs that reports no progress: on a large disk and a slow machine
/// it takes minutes.
async fn tell_time(task: &Task, disk: &str, program: &str) -> Infallible {
    let began = Instant::now();
    for tick in 0_u64.. {
        let seconds = began.elapsed().as_secs();
        task.progress(Progress {
            phase: PHASE.into(),
            done: seconds,
            unit: "s".into(),
            subject: format!("{disk} ({program})"),
            ..Progress::default()
        });
        if tick > 0 && tick.is_multiple_of(LINES) {
            task.say(format!("{program} has been running for {seconds} s"));
        }
        tokio::time::sleep(TICK).await;
    }
    std::future::pending().await
}

/// A directory of the image that something can be mounted on: made if it is missing, refused
/// if the image has put a link there, which would lead into the ramdisk.
fn make_mount_point(root: &Path, mount_point: &str) -> Result<(), BootCause> {
    let mut path = root.to_owned();
    for name in mount_point.split('/').filter(|name| !name.is_empty()) {
        path.push(name);
        let made = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(io::Error::other("it is not a directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path),
            Err(error) => Err(error),
        };
        made.map_err(|source| BootCause::ImageFile {
            path: mount_point.to_owned(),
            source,
        })?;
    }
    Ok(())
}

fn exists(root: &Path, name: &str) -> bool {
    fs::symlink_metadata(root.join(name)).is_ok()
}

#[cfg(test)]
mod tests;

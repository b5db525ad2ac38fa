//! Programs of somebody else's image, run within it and apart from this machine.
//!
//! A directory of one's own is no wall for whoever is root, so there are several:
//!
//! * [`command`] makes processes, mounts, names, IPC and network of their own by `unshare`, and
//!   in them starts this very program again, which is
//! * [`main`]: it makes the image the root directory, gives it the few device nodes that are
//!   named, `/proc` and `/sys` to read, an empty `/run`, and takes away every capability by
//!   which root gets out of there: to mount, to make nodes, to change the root, to load modules,
//!   to trace. Then it becomes the program.
//!
//! Everything that is mounted goes with the process.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{MountFlags, mount};
use rustix::thread::CapabilitySet;

use super::{Cmd, Root};

/// The word that makes this program [`main`].
pub const NAME: &str = "run-in-image";
/// Mount points, hostname, System V IPC, processes and network of its own.
const APART: [&str; 6] = ["-m", "-u", "-i", "-p", "-n", "-f"];
/// What stands between the device nodes and the program.
const END: &str = "--";
/// Where programs are in the image.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Nodes that every program may expect.
const NODES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];
/// Where devices have other names.
const NAMES: [&str; 9] = [
    "/dev/disk/by-uuid",
    "/dev/disk/by-partuuid",
    "/dev/disk/by-label",
    "/dev/disk/by-partlabel",
    "/dev/disk/by-id",
    "/dev/disk/by-path",
    "/dev/disk/by-diskseq",
    "/dev/mapper",
    "/dev/md",
];
/// What root keeps: to read and write the files of the image, whoever owns them, and to become
/// somebody else.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);
/// The status of a shell that could not start a program.
const NOT_STARTED: u8 = 126;

/// A program of the image that is mounted at `image`. It sees the devices `nodes`, and of the
/// environment what `environment` says, as `NAME=value`.
///
/// # Errors
/// This program does not know where it is.
pub fn command(
    image: &Path,
    nodes: &BTreeSet<String>,
    environment: &[&str],
    program: &[&str],
) -> io::Result<Cmd> {
    let own = std::env::current_exe()?;
    Ok(Cmd::new("unshare")
        .args(APART)
        .args([own.display().to_string(), NAME.to_owned()])
        .arg(image.display().to_string())
        .args(nodes.iter().map(String::as_str))
        .arg(END)
        .args(environment.iter().copied())
        .args(program.iter().copied()))
}

/// The nodes of a device, of what it lies on, and of all their partitions.
#[must_use]
pub fn nodes_of(root: &Root, devices: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<String> = devices.iter().map(|device| (*device).to_owned()).collect();
    while let Some(device) = waiting.pop() {
        let name = device.rsplit('/').next().unwrap_or(&device);
        let block = format!("/sys/class/block/{name}");
        let is_partition = |entry: &String| root.exists(format!("{block}/{entry}/partition"));
        let partitions = root.names(&block).into_iter().filter(is_partition);
        let below = root.names(format!("{block}/slaves"));
        waiting.extend(
            partitions
                .chain(below)
                .map(|name| format!("/dev/{name}"))
                .filter(|node| !found.contains(node)),
        );
        found.insert(device);
    }
    found
}

/// Becomes the program. `arguments` are this program's: its name, [`NAME`], the image, nodes,
/// `--`, the environment, the program and its arguments. Must run as `unshare` leaves it: as
/// the first process of its own, with mounts of its own.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Result<Vec<String>, _> = arguments.skip(2).map(OsString::into_string).collect();
    let failed = match arguments {
        Ok(arguments) => become_program(&arguments),
        Err(_) => "the arguments are no text".to_owned(),
    };
    eprintln!("ironic-agent {NAME}: {failed}");
    ExitCode::from(NOT_STARTED)
}

/// Comes back only with what went wrong.
#[expect(
    clippy::disallowed_methods,
    reason = "this becomes the program; whoever starts this has the timeout"
)]
fn become_program(arguments: &[String]) -> String {
    let mut parts = arguments.splitn(2, |argument| argument == END);
    let (Some([image, nodes @ ..]), Some(program)) = (parts.next(), parts.next()) else {
        return format!(
            "usage: {NAME} IMAGE [NODE]... {END} [NAME=VALUE]... PROGRAM [ARGUMENT]..."
        );
    };
    // Nobody else runs this: it would take the capabilities from whoever does, and mount over
    // the directories of the machine.
    if std::process::id() != 1 {
        return "this is for the agent, which runs it in namespaces of its own".to_owned();
    }
    let is_variable = |argument: &&String| argument.contains('=');
    let environment = program.iter().take_while(is_variable);
    let Some((name, arguments)) = program[environment.clone().count()..].split_first() else {
        return "no program is named".to_owned();
    };
    if let Err(reason) = confine(Path::new(image), nodes) {
        return reason;
    }
    let mut program = Command::new(name);
    program.args(arguments).env_clear().env("PATH", PATH);
    for (variable, value) in environment.filter_map(|argument| argument.split_once('=')) {
        program.env(variable, value);
    }
    format!("{name}: {}", program.exec())
}

fn confine(image: &Path, nodes: &[String]) -> Result<(), String> {
    // As long as the machine's own /dev is to be seen.
    let named: BTreeSet<&str> = nodes.iter().map(String::as_str).chain(NODES).collect();
    let devices: Vec<Device> = named.into_iter().filter_map(Device::find).collect();
    let links = links_to(&devices);
    std::env::set_current_dir(image).map_err(|error| told(image, &error))?;
    rustix::process::chroot(".").map_err(|error| told(image, &error))?;
    std::env::set_current_dir("/").map_err(|error| told(image, &error))?;
    // From here on every path is one of the image, also if that has links.
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
    let read_only = plain | MountFlags::NODEV | MountFlags::RDONLY;
    for (kind, place, flags) in [
        ("tmpfs", "/dev", plain),
        ("proc", "/proc", read_only),
        ("sysfs", "/sys", read_only),
        ("tmpfs", "/run", plain | MountFlags::NODEV),
    ] {
        mount(kind, place, kind, flags, c"").map_err(|error| told(Path::new(place), &error))?;
    }
    for device in &devices {
        device.make().map_err(|error| told(&device.path, &error))?;
    }
    for (path, target) in &links {
        link(path, target).map_err(|error| told(path, &error))?;
    }
    for (path, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
    ] {
        link(Path::new(path), Path::new(target)).map_err(|error| told(Path::new(path), &error))?;
    }
    rustix::thread::set_no_new_privs(true).map_err(|error| format!("privileges: {error}"))?;
    give_up_capabilities().map_err(|error| format!("capabilities: {error}"))
}

/// A device node as it is on the machine.
#[derive(Debug, PartialEq, Eq)]
struct Device {
    path: PathBuf,
    kind: FileType,
    number: u64,
}

impl Device {
    /// `None`: there is no such device; whoever needs it will say so.
    fn find(path: &str) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let kind = metadata.file_type();
        let kind = if kind.is_block_device() {
            FileType::BlockDevice
        } else if kind.is_char_device() {
            FileType::CharacterDevice
        } else {
            return None;
        };
        Some(Self {
            path: PathBuf::from(path),
            kind,
            number: metadata.rdev(),
        })
    }

    fn make(&self) -> io::Result<()> {
        make_parent(&self.path)?;
        let mode = if self.kind == FileType::BlockDevice {
            Mode::RUSR | Mode::WUSR
        } else {
            Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH
        };
        let made = rustix::fs::mknodat(CWD, &self.path, self.kind, mode, self.number);
        made.map_err(io::Error::from)
    }
}

/// The other names of these devices, with the path that each is to lead to.
fn links_to(devices: &[Device]) -> Vec<(PathBuf, PathBuf)> {
    let entries = NAMES.iter().filter_map(|place| fs::read_dir(place).ok());
    let links = entries.flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let target = fs::canonicalize(&path).ok()?;
        let device = devices.iter().find(|device| device.path == target)?;
        (path != target).then(|| (path, device.path.clone()))
    });
    links.collect()
}

fn link(path: &Path, target: &Path) -> io::Result<()> {
    make_parent(path)?;
    symlink(target, path)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// What is not in the bounding set, no program that is started can get, root or not.
fn give_up_capabilities() -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Behind the last one that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

fn told(path: &Path, error: &dyn Display) -> String {
    let path = String::from_utf8_lossy(path.as_os_str().as_bytes());
    format!("{path}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn a_device_has_its_partitions_and_what_it_lies_on() {
        let mut machine = FakeMachine::new();
        for file in [
            "sys/class/block/md0/md0p1/partition",
            "sys/class/block/sda/sda1/partition",
            "sys/class/block/sdb/sdb1/partition",
            "sys/class/block/sdc/sdc1/partition",
            "sys/class/block/sda/sda1/size",
        ] {
            machine.file(file, "1");
        }
        machine
            .directory("sys/class/block/md0/slaves/sda1")
            .directory("sys/class/block/md0/slaves/sdb1");
        let nodes = nodes_of(
            &machine.system().root,
            &["/dev/md0p1", "/dev/md0", "/dev/sda"],
        );
        let expected = [
            "/dev/md0",
            "/dev/md0p1",
            "/dev/sda",
            "/dev/sda1",
            "/dev/sdb1",
        ];
        assert_eq!(
            nodes.iter().map(String::as_str).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_is_changed() {
        let run = |words: &[&str]| {
            become_program(
                &words
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert!(run(&[]).starts_with("usage:"));
        assert!(run(&["/image", "/dev/sda"]).starts_with("usage:"));
        // Outside of namespaces it would take the machine apart.
        assert!(run(&["/", "--", "true"]).contains("in namespaces of its own"));
        assert!(Path::new("/proc/self/exe").exists());
    }
}

//! GRUB for partition images: the image brings its own, and it is run inside the image. That
//! is the tenant's code as root (CVE-2026-43003), so an operator has to allow it, and it is
//! [sandbox]: it sees the disks that it is for, and nothing else of the machine.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::boot::arguments::name_arrays;
use crate::disk::boot::image::{ROOT, SYSTEM, enter_fstab, fstab_line};
use crate::disk::boot::place::Place;
use crate::disk::filesystem::mount::{mount_system, unmount};
use crate::failure::Failure;
use crate::machine::connected_nodes;
use crate::system::foreign_root::ForeignRoot;
use crate::system::sandbox::{self, View};
use crate::system::{PathPrefix, System};
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
pub struct Order {
    /// The disk, for messages.
    pub disk: String,
    /// The node of the image's root file system.
    pub root: String,
    /// The EFI system partition, on machines that have one.
    pub esp: Option<Place>,
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

impl Order {
    /// What GRUB must see.
    fn view(&self, root: &PathPrefix) -> View {
        let mut devices = vec![self.disk.as_str(), self.root.as_str()];
        devices.extend(self.esp.iter().map(|esp| esp.node.as_str()));
        devices.extend(self.targets.iter().map(String::as_str));
        View {
            nodes: connected_nodes(root, &devices),
            names: self.names.clone(),
            efi_system: self.esp.as_ref().map(|esp| esp.node.clone()),
        }
    }
}

/// Runs the image's GRUB. Whatever happens, nothing stays mounted.
///
/// # Errors
/// `CommandExecutionError` with the program that failed.
pub async fn install(system: &System, order: &Order, task: &Task) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::execution(format!(
            "Installing GRUB2 boot loader to device {} failed with {error}.",
            order.disk
        ))
    };
    task.check()?;
    mount_system(system, NO_NODES, &order.root, ROOT, SYSTEM)
        .await
        .map_err(|error| failed(&error))?;
    let done = inside(system, order, task).await;
    // The deployed system could miss what is not unmounted.
    let unmounted = unmount(system, ROOT).await;
    task.check()?;
    done.map_err(|error| failed(&error))?;
    unmounted.map_err(|error| failed(&error))?;
    task.phase(format!("GRUB installed on {}", order.disk));
    Ok(())
}

async fn inside(system: &System, order: &Order, task: &Task) -> Result<(), String> {
    let root = system.root.path(ROOT);
    for place in COVERED {
        make_mount_point(&root, place)?;
    }
    let tree = ForeignRoot::open(&root).map_err(text)?;
    let grub = if exists(&root, "usr/sbin/grub2-install") {
        "grub2"
    } else {
        "grub"
    };
    let program = format!("{grub}-install");
    let view = order.view(&system.root);
    let run = async |args: &[&str], environment: &[&str]| {
        let cmd = sandbox::command(&root, &view, environment, args).map_err(text)?;
        let shown = args.join(" ");
        task.say(format!("running {shown}"));
        let done = system.run.run(cmd);
        tokio::select! {
            done = done => done.map_err(text),
            () = task.cancelled() => Err(text(task.cancellation())),
            never = tell_time(task, &order.disk, &shown) => match never {},
        }
    };
    match &order.esp {
        Some(_) => {
            make_mount_point(&root, sandbox::EFI_SYSTEM_PLACE)?;
            let platform = order.platform.map(|name| format!("--target={name}"));
            // This ramdisk's firmware has no entries for another kind.
            let entries = platform.is_some().then_some("--no-nvram");
            for place in [None, Some("--removable")] {
                let options = [platform.as_deref(), entries, place];
                let args: Vec<&str> = [program.as_str()]
                    .into_iter()
                    .chain(options.into_iter().flatten())
                    .collect();
                // One of the two works: which depends on the machine's firmware.
                if let Err(error) = run(&args, &[]).await {
                    task.warn(error);
                }
            }
        }
        None => {
            for target in &order.targets {
                run(&[program.as_str(), target.as_str()], &[]).await?;
            }
        }
    }
    if order.is_array
        && let Err(error) = name_arrays(system, &tree).await
    {
        task.warn(format!("the kernel is not told of the arrays: {error}"));
    }
    let (maker, menu) = (format!("{grub}-mkconfig"), format!("/boot/{grub}/grub.cfg"));
    run(&[maker.as_str(), "-o", menu.as_str()], &QUIET).await?;
    if let Some(esp) = &order.esp
        && !esp.uuid.is_empty()
        && let Err(error) = enter_fstab(&tree, &fstab_line(esp))
    {
        tracing::warn!(%error, "/etc/fstab was not changed");
    }
    Ok(())
}

/// Says how long a program runs that tells nothing of itself: on a large disk and a slow machine
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
fn make_mount_point(root: &Path, place: &str) -> Result<(), String> {
    let mut path = root.to_owned();
    for name in place.split('/').filter(|name| !name.is_empty()) {
        path.push(name);
        let made = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(io::Error::other("it is no directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path),
            Err(error) => Err(error),
        };
        made.map_err(|error| format!("{place} of the image: {error}"))?;
    }
    Ok(())
}

fn exists(root: &Path, name: &str) -> bool {
    fs::symlink_metadata(root.join(name)).is_ok()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, read_to_string, write};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::system::process::Script;
    use crate::system::{PathPrefix, RunError};

    struct Machine {
        dir: tempfile::TempDir,
        root: PathBuf,
        order: Order,
        /// What GRUB sees of the machine.
        seen: &'static str,
    }

    impl Machine {
        /// A BIOS machine whose image has GRUB under this name.
        fn new(grub: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join(&ROOT[1..]);
            create_dir_all(root.join("usr/sbin")).unwrap();
            write(root.join(format!("usr/sbin/{grub}-install")), "").unwrap();
            create_dir_all(root.join("etc")).unwrap();
            write(root.join("etc/fstab"), "").unwrap();
            Self {
                order: Order {
                    disk: "/dev/sda".into(),
                    root: "/dev/sda2".into(),
                    esp: None,
                    targets: vec!["/dev/sda".into()],
                    is_array: false,
                    platform: None,
                    names: BTreeMap::new(),
                },
                seen: "/dev/sda /dev/sda2",
                root,
                dir,
            }
        }

        fn mounts(&self) -> Script {
            let root = self.root.display();
            Script::new().expect(&format!("mount -o nodev,nosuid /dev/sda2 {root}"), "")
        }

        fn inside(&self, environment: &str, program: &str) -> String {
            format!(
                "unshare -m -u -i -p -n -f {} run-in-image {} {} -- {environment}{program}",
                std::env::current_exe().unwrap().display(),
                self.root.display(),
                self.seen,
            )
        }

        fn mkconfig(&self, grub: &str) -> String {
            self.inside(
                "GRUB_DISABLE_OS_PROBER=true GRUB_SAVEDEFAULT=true ",
                &format!("{grub}-mkconfig -o /boot/{grub}/grub.cfg"),
            )
        }

        fn unmounts(&self, script: Script) -> Script {
            script.expect(&format!("umount {}", self.root.display()), "")
        }

        async fn install(&self, script: Script) -> Result<(), Failure> {
            let script = Arc::new(script);
            let system = System {
                run: script.clone(),
                root: PathPrefix::new(self.dir.path()),
                ..System::linux()
            };
            let done = install(&system, &self.order, &Task::detached()).await;
            script.assert_done();
            done
        }
    }

    fn refused(program: &str) -> RunError {
        RunError::Failed {
            program: program.into(),
            command: program.into(),
            status: 1,
            stderr: "cannot".into(),
        }
    }

    #[tokio::test]
    async fn a_bios_machine_gets_grub_on_its_disk() {
        for grub in ["grub2", "grub"] {
            let machine = Machine::new(grub);
            let script = machine
                .mounts()
                .expect(&machine.inside("", &format!("{grub}-install /dev/sda")), "")
                .expect(&machine.mkconfig(grub), "");
            machine.install(machine.unmounts(script)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_bios_array_gets_grub_on_every_disk() {
        let mut machine = Machine::new("grub2");
        machine.order.targets = vec!["/dev/sda".into(), "/dev/sdb".into()];
        machine.seen = "/dev/sda /dev/sda2 /dev/sdb";
        let script = machine
            .mounts()
            .expect(&machine.inside("", "grub2-install /dev/sda"), "")
            .expect(&machine.inside("", "grub2-install /dev/sdb"), "")
            .expect(&machine.mkconfig("grub2"), "");
        machine.install(machine.unmounts(script)).await.unwrap();
    }

    #[tokio::test]
    async fn the_menu_of_a_system_on_an_array_names_the_arrays() {
        let mut machine = Machine::new("grub2");
        machine.order.is_array = true;
        write(machine.root.join("usr/sbin/dracut"), "").unwrap();
        create_dir_all(machine.root.join("etc/default")).unwrap();
        let settings = machine.root.join("etc/default/grub");
        write(&settings, "GRUB_CMDLINE_LINUX=\"ro\"\n").unwrap();
        let script = machine
            .mounts()
            .expect(&machine.inside("", "grub2-install /dev/sda"), "")
            .expect("mdadm --examine --scan", "ARRAY /dev/md0 UUID=1:2:3:4")
            .expect(&machine.mkconfig("grub2"), "");
        machine.install(machine.unmounts(script)).await.unwrap();
        assert_eq!(
            read_to_string(settings).unwrap(),
            "GRUB_CMDLINE_LINUX=\"ro rd.md.uuid=1:2:3:4\"\n"
        );
    }

    #[tokio::test]
    async fn with_an_efi_system_partition_either_way_may_fail() {
        let mut machine = Machine::new("grub");
        machine.order.esp = Some(Place {
            node: "/dev/sda1".into(),
            number: 1,
            uuid: "p".into(),
            is_partition_uuid: true,
        });
        let name = ("/dev/disk/by-partuuid/p".into(), "/dev/sda1".into());
        machine.order.names.extend([name]);
        machine.seen = "/dev/sda /dev/sda1 /dev/sda2 /dev/disk/by-partuuid/p=/dev/sda1 \
            --efi-system=/dev/sda1";
        let first = machine.inside("", "grub-install");
        let second = machine.inside("", "grub-install --removable");
        let script = machine
            .mounts()
            .expect_result(&first, Err(refused("grub-install")))
            .expect_result(&second, Err(refused("grub-install")))
            .expect(&machine.mkconfig("grub"), "");
        machine.install(machine.unmounts(script)).await.unwrap();
        assert_eq!(
            read_to_string(machine.root.join("etc/fstab")).unwrap(),
            "PARTUUID=p\t/boot/efi\tvfat\tumask=0077\t0\t1\n"
        );
    }

    #[tokio::test]
    async fn a_failure_is_told_and_everything_is_unmounted() {
        let machine = Machine::new("grub");
        let script = machine.mounts().expect_result(
            &machine.inside("", "grub-install /dev/sda"),
            Err(refused("grub-install")),
        );
        let failure = machine.install(machine.unmounts(script)).await.unwrap_err();
        assert!(
            failure
                .details
                .starts_with("Installing GRUB2 boot loader to device /dev/sda failed with "),
            "{failure}"
        );
        let root = format!("mount -o nodev,nosuid /dev/sda2 {}", machine.root.display());
        let script = Script::new().expect_result(&root, Err(refused("mount")));
        machine.install(script).await.unwrap_err();
    }

    /// A machine whose programs take their time.
    #[derive(Debug)]
    struct Slow(Script, Duration);

    impl crate::system::Run for Slow {
        fn run(
            &self,
            cmd: crate::system::Cmd,
        ) -> futures_util::future::BoxFuture<'_, Result<crate::system::Output, RunError>> {
            Box::pin(async {
                if cmd.program == "unshare" {
                    tokio::time::sleep(self.1).await;
                }
                self.0.run(cmd).await
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn programs_that_say_nothing_are_seen_to_run() {
        let machine = Machine::new("grub");
        let script = machine
            .mounts()
            .expect(&machine.inside("", "grub-install /dev/sda"), "")
            .expect(&machine.mkconfig("grub"), "");
        let slow = Slow(machine.unmounts(script), Duration::from_millis(25_500));
        let system = System {
            run: Arc::new(slow),
            root: PathPrefix::new(machine.dir.path()),
            ..System::linux()
        };
        let (task, listener) = Task::new();
        let mut lines = task.lines();
        install(&system, &machine.order, &task).await.unwrap();
        let last = listener.progress.borrow().clone().unwrap();
        assert_eq!((last.phase.as_ref(), last.done), (PHASE, 25));
        let mkconfig = "grub-mkconfig -o /boot/grub/grub.cfg";
        assert_eq!(last.subject, format!("/dev/sda ({mkconfig})"));
        let mut said = Vec::new();
        while let Ok(line) = lines.try_recv() {
            said.push(line.text);
        }
        assert_eq!(
            said[..6],
            [
                "running grub-install /dev/sda".to_owned(),
                "grub-install /dev/sda has been running for 10 s".to_owned(),
                "grub-install /dev/sda has been running for 20 s".to_owned(),
                format!("running {mkconfig}"),
                format!("{mkconfig} has been running for 10 s"),
                format!("{mkconfig} has been running for 20 s"),
            ]
        );
    }

    #[tokio::test]
    async fn nothing_is_mounted_where_a_link_of_the_image_leads() {
        let machine = Machine::new("grub");
        symlink("/etc", machine.root.join("proc")).unwrap();
        let root = machine.root.display();
        let script = Script::new()
            .expect(&format!("mount -o nodev,nosuid /dev/sda2 {root}"), "")
            .expect(&format!("umount {root}"), "");
        let failure = machine.install(script).await.unwrap_err();
        assert!(
            failure
                .details
                .contains("/proc of the image: it is no directory"),
            "{failure}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_mounted_fails_the_command() {
        let machine = Machine::new("grub");
        let mut script = machine
            .mounts()
            .expect(&machine.inside("", "grub-install /dev/sda"), "")
            .expect(&machine.mkconfig("grub"), "");
        for _ in 0..3 {
            let command = format!("umount {}", machine.root.display());
            script = script.expect_result(&command, Err(refused("umount")));
        }
        machine.install(script).await.unwrap_err();
    }
}

//! GRUB for partition images: the image brings its own, and it is run inside the image. That
//! is the tenant's code as root of the ramdisk (CVE-2026-43003), so an operator has to allow
//! it, and it gets no network and namespaces of its own.

use std::fs;
use std::io;
use std::path::Path;

use super::boot_arguments::name_arrays;
use super::boot_image::{ROOT, enter_fstab, fstab_line};
use super::boot_place::Place;
use super::mount::{mount, unmount};
use crate::failure::Failure;
use crate::system::tree::Tree;
use crate::system::{Cmd, System};
use crate::task::Task;

/// What GRUB looks at, besides the image itself.
const BOUND: [&str; 3] = ["/dev", "/proc", "/run"];
/// Where programs are in the image.
const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
/// Neither other systems nor the last choice are for a menu that is made here.
const QUIET: [&str; 2] = ["GRUB_DISABLE_OS_PROBER=true", "GRUB_SAVEDEFAULT=true"];
/// Mount points, hostname, System V IPC, processes and network of its own.
const APART: [&str; 6] = ["-m", "-u", "-i", "-p", "-n", "-f"];

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
    let mut mounted = Vec::new();
    let work = async {
        mount(system, &[], &order.root, ROOT).await.map_err(text)?;
        mounted.push(String::new());
        inside(system, order, task, &mut mounted).await
    };
    let done = work.await;
    let cleaned = clean(system, &mounted, task).await;
    done.map_err(|error| failed(&error))?;
    cleaned.map_err(|error| failed(&error))?;
    task.phase(format!("GRUB installed on {}", order.disk));
    Ok(())
}

async fn inside(
    system: &System,
    order: &Order,
    task: &Task,
    mounted: &mut Vec<String>,
) -> Result<(), String> {
    let root = system.root.path(ROOT);
    for place in BOUND {
        make_mount_point(&root, place)?;
        bind(system, &["-o", "bind"], place, place, mounted).await?;
    }
    make_mount_point(&root, "/sys")?;
    bind(system, &["-t", "sysfs"], "none", "/sys", mounted).await?;
    let tree = Tree::open(&root).map_err(text)?;
    let grub = if exists(&root, "usr/sbin/grub2-install") {
        "grub2"
    } else {
        "grub"
    };
    let program = format!("{grub}-install");
    let run = async |args: &[&str], environment: &[&str]| {
        let cmd = apart(&root, environment, args);
        task.say(format!("running {}", args.join(" ")));
        system.run.run(cmd).await
    };
    match &order.esp {
        Some(esp) => {
            make_mount_point(&root, "/boot/efi")?;
            bind(system, &["-t", "vfat"], &esp.node, "/boot/efi", mounted).await?;
            for args in [
                vec![program.as_str()],
                vec![program.as_str(), "--removable"],
            ] {
                // One of the two works: which depends on the machine's firmware.
                if let Err(error) = run(&args, &[]).await {
                    task.warn(error.to_string());
                }
            }
        }
        None => {
            for target in &order.targets {
                run(&[program.as_str(), target.as_str()], &[])
                    .await
                    .map_err(text)?;
            }
        }
    }
    if order.is_array
        && let Err(error) = name_arrays(system, &tree).await
    {
        task.warn(format!("the kernel is not told of the arrays: {error}"));
    }
    let (maker, menu) = (format!("{grub}-mkconfig"), format!("/boot/{grub}/grub.cfg"));
    run(&[maker.as_str(), "-o", menu.as_str()], &QUIET)
        .await
        .map_err(text)?;
    if let Some(esp) = &order.esp
        && !esp.uuid.is_empty()
        && let Err(error) = enter_fstab(&tree, &fstab_line(esp))
    {
        tracing::warn!(%error, "/etc/fstab was not changed");
    }
    Ok(())
}

/// A program of the image, run in it and apart from the ramdisk. No shell.
fn apart(root: &Path, environment: &[&str], args: &[&str]) -> Cmd {
    Cmd::new("unshare")
        .args(APART)
        .args(["chroot", &root.display().to_string(), "env", PATH])
        .args(environment.iter().copied())
        .args(args.iter().copied())
}

/// Mounts something within the image and remembers that.
async fn bind(
    system: &System,
    options: &[&str],
    source: &str,
    place: &str,
    mounted: &mut Vec<String>,
) -> Result<(), String> {
    mount(system, options, source, &format!("{ROOT}{place}"))
        .await
        .map_err(text)?;
    mounted.push(place.to_owned());
    Ok(())
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

/// Unmounts in the opposite order. Only what the deployed system could miss is an error: its
/// own file systems.
async fn clean(system: &System, mounted: &[String], task: &Task) -> Result<(), String> {
    let mut first = Ok(());
    for place in mounted.iter().rev() {
        let done = unmount(system, &format!("{ROOT}{place}")).await;
        let matters = place.is_empty() || place == "/boot/efi";
        match done {
            Err(error) if matters && first.is_ok() => first = Err(error.to_string()),
            Err(error) => task.warn(error.to_string()),
            Ok(()) => {}
        }
    }
    first
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
    use crate::system::{Root, RunError};

    struct Machine {
        dir: tempfile::TempDir,
        root: PathBuf,
        order: Order,
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
                },
                root,
                dir,
            }
        }

        fn mounts(&self) -> Script {
            let root = self.root.display();
            let mut script = Script::new().expect(&format!("mount /dev/sda2 {root}"), "");
            for place in ["/dev", "/proc", "/run"] {
                script = script.expect(&format!("mount -o bind {place} {root}{place}"), "");
            }
            script.expect(&format!("mount -t sysfs none {root}/sys"), "")
        }

        fn inside(&self, environment: &str, program: &str) -> String {
            format!(
                "unshare -m -u -i -p -n -f chroot {} env \
                 PATH=/usr/sbin:/usr/bin:/sbin:/bin {environment}{program}",
                self.root.display()
            )
        }

        fn mkconfig(&self, grub: &str) -> String {
            self.inside(
                "GRUB_DISABLE_OS_PROBER=true GRUB_SAVEDEFAULT=true ",
                &format!("{grub}-mkconfig -o /boot/{grub}/grub.cfg"),
            )
        }

        fn unmounts(&self, script: Script) -> Script {
            ["/sys", "/run", "/proc", "/dev", ""]
                .iter()
                .fold(script, |script, place| {
                    script.expect(&format!("umount {}{place}", self.root.display()), "")
                })
        }

        async fn install(&self, script: Script) -> Result<(), Failure> {
            let script = Arc::new(script);
            let system = System {
                run: script.clone(),
                root: Root::new(self.dir.path()),
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
        let root = machine.root.display().to_string();
        let first = machine.inside("", "grub-install");
        let second = machine.inside("", "grub-install --removable");
        let script = machine
            .mounts()
            .expect(&format!("mount -t vfat /dev/sda1 {root}/boot/efi"), "")
            .expect_result(&first, Err(refused("grub-install")))
            .expect_result(&second, Err(refused("grub-install")))
            .expect(&machine.mkconfig("grub"), "")
            .expect(&format!("umount {root}/boot/efi"), "");
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
        let root = format!("mount /dev/sda2 {}", machine.root.display());
        let script = Script::new().expect_result(&root, Err(refused("mount")));
        machine.install(script).await.unwrap_err();
    }

    #[tokio::test]
    async fn nothing_is_mounted_where_a_link_of_the_image_leads() {
        let machine = Machine::new("grub");
        symlink("/etc", machine.root.join("proc")).unwrap();
        let root = machine.root.display();
        let script = Script::new()
            .expect(&format!("mount /dev/sda2 {root}"), "")
            .expect(&format!("mount -o bind /dev {root}/dev"), "")
            .expect(&format!("umount {root}/dev"), "")
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
    async fn what_stays_mounted_fails_the_command_only_if_it_matters() {
        for (stuck, is_fatal) in [("/sys", false), ("", true)] {
            let machine = Machine::new("grub");
            let mut script = machine
                .mounts()
                .expect(&machine.inside("", "grub-install /dev/sda"), "")
                .expect(&machine.mkconfig("grub"), "");
            for place in ["/sys", "/run", "/proc", "/dev", ""] {
                let command = format!("umount {}{place}", machine.root.display());
                if place == stuck {
                    for _ in 0..3 {
                        script = script.expect_result(&command, Err(refused("umount")));
                    }
                } else {
                    script = script.expect(&command, "");
                }
            }
            assert_eq!(machine.install(script).await.is_err(), is_fatal, "{stuck}");
        }
    }
}

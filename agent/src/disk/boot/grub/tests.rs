use std::fs::{create_dir_all, read_to_string, write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::failure::Failure;
use crate::system::process::Script;
use crate::system::{PathPrefix, RunError};

struct Machine {
    dir: tempfile::TempDir,
    root: PathBuf,
    order: GrubInstall,
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
            order: GrubInstall {
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
        done.map_err(Failure::from)
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
    machine.order.esp = Some(LocatedPartition {
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
async fn a_failure_is_reported_and_everything_is_unmounted() {
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
            .contains("/proc of the image: it is not a directory"),
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

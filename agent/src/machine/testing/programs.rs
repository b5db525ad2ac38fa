//! Debian's programs, run over a machine made of files: they are the truth that ours is
//! compared with.
#![allow(
    clippy::disallowed_methods,
    reason = "the programs that are the truth are run beside the code, not by it"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use super::FakeMachine;

/// Where Debian's programs are unpacked.
#[derive(Debug)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// The directory that TEST_PROGRAMS names the `bin` of. `None`, with a line, where it is
    /// not set; in CI that is a failure.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let Some(bin) = std::env::var_os("TEST_PROGRAMS") else {
            assert!(std::env::var_os("CI").is_none(), "TEST_PROGRAMS is not set");
            eprintln!("SKIPPED {test}: needs TEST_PROGRAMS; run `make unit`");
            return None;
        };
        Path::new(&bin).parent().map(|path| Self(path.to_owned()))
    }

    /// A command that runs one of the programs on this machine, with the others on its PATH.
    pub(crate) fn command(&self, program: &str) -> Command {
        let bin = self.0.join("bin");
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(bin.join(program));
        command
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()))
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// What a shell script prints that runs in namespaces of its own, as root of them;
    /// `inside PROGRAM` runs a program that sees the machine as `/`.
    pub(crate) fn run_inside(&self, machine: &mut FakeMachine, script: &str) -> String {
        const PREPARE: &str = r#"
            set -e
            for directory in "$PROGRAMS"/bin "$PROGRAMS"/sbin "$PROGRAMS"/lib* "$PROGRAMS"/usr; do
                place="$MACHINE/${directory##*/}"
                if [ -L "$directory" ]; then
                    [ -L "$place" ] || cp -a "$directory" "$place"
                elif [ -d "$directory" ]; then
                    mkdir -p "$place"
                    mount --rbind "$directory" "$place"
                fi
            done
            mount --rbind /proc "$MACHINE/proc"
            inside() { PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare --root "$MACHINE" "$@"; }
        "#;
        for name in ["proc", "tmp", "etc", "run"] {
            machine.directory(name);
        }
        // Programs that udev starts read from it; that it is not a device makes no difference.
        machine.bytes("dev/null", b"");
        let output = self
            .command("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg(format!("{PREPARE}\n{script}"))
            .env("PROGRAMS", self.0.join("root"))
            .env("MACHINE", machine.path())
            .env("SYSTEMD_DEVICE_VERIFY_SYSFS", "0")
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {complaint}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

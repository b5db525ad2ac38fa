use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::podman::PRIVATE;
use super::*;
use crate::failure::{Failure, FailureKind};
use crate::system::{Output, PathPrefix, Run, RunError};

const GIB: u64 = 1 << 30;

/// Programs that note what they see of the private files, and end as the test asks.
#[derive(Debug)]
struct Podman {
    root: PathBuf,
    selinux: Option<&'static str>,
    pulled: fn() -> Result<Output, RunError>,
    /// It does not have the option by which pulls are spaced.
    is_old: bool,
    ran: fn() -> Result<Output, RunError>,
    seen: Mutex<Vec<String>>,
}

impl Podman {
    fn private(&self) -> Vec<String> {
        let mut contents = Vec::new();
        for directory in [PRIVATE, SHARED] {
            let path = self.root.join(directory.trim_start_matches('/'));
            for entry in fs::read_dir(path).into_iter().flatten() {
                let path = entry.unwrap().path();
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                contents.push(fs::read_to_string(path).unwrap());
            }
        }
        contents
    }
}

impl Run for Podman {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        crate::system::process::recording::record(&cmd);
        let mut seen = self.seen.lock().unwrap();
        seen.push(cmd.to_string());
        seen.extend(self.private().into_iter().map(|text| format!("  {text}")));
        let result = match cmd.program.as_str() {
            "getenforce" => match self.selinux {
                Some(word) => Ok(output(word, "")),
                None => Err(RunError::Missing {
                    program: cmd.program,
                }),
            },
            _ if self.is_old && cmd.args.contains(&"--retry-delay=5s".to_owned()) => {
                failed("Error: unknown flag: --retry-delay\nSee 'podman pull --help'\n")
            }
            _ if cmd.args[0] == "pull" => (self.pulled)(),
            _ => (self.ran)(),
        };
        Box::pin(std::future::ready(result))
    }
}

fn output(stdout: &str, stderr: &str) -> Output {
    Output {
        status: 0,
        stdout: stdout.into(),
        stderr: stderr.into(),
    }
}

fn failed(stderr: &str) -> Result<Output, RunError> {
    Err(RunError::Failed {
        program: "podman".into(),
        command: "podman".into(),
        status: 125,
        stderr: stderr.into(),
    })
}

struct Machine {
    dir: tempfile::TempDir,
    podman: Podman,
    device: BlockDevice,
    config: AgentConfig,
    instance_info: Value,
    secret: Option<Secret>,
    configdrive: Option<String>,
    source: &'static str,
}

impl Machine {
    /// A disk of 4 GiB with a table, as bootc would have left it.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sda");
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .read(true)
            .open(&path)
            .unwrap();
        file.set_len(4 * GIB).unwrap();
        let mut table = gptman::GPT::new_from(&mut file, 512, [7; 16]).unwrap();
        table[1] = gptman::GPTPartitionEntry {
            partition_type_guid: [1; 16],
            unique_partition_guid: [2; 16],
            starting_lba: 2048,
            ending_lba: 409_599,
            attribute_bits: 0,
            partition_name: "".into(),
        };
        gptman::GPT::write_protective_mbr_into(&mut file, 512).unwrap();
        table.write_into(&mut file).unwrap();
        gptman::GPT::write_protective_mbr_into(&mut file, 512).unwrap();
        Self {
            podman: Podman {
                root: dir.path().to_owned(),
                selinux: None,
                pulled: || Ok(Output::default()),
                is_old: false,
                ran: || Ok(Output::default()),
                seen: Mutex::default(),
            },
            device: BlockDevice {
                name: path.to_str().unwrap().to_owned(),
                size: 4 * GIB,
                ..BlockDevice::default()
            },
            config: AgentConfig::default(),
            instance_info: json!({}),
            secret: None,
            configdrive: None,
            source: "oci://registry.example/os/image:1?x#y",
            dir,
        }
    }

    async fn install(self) -> (Result<String, Failure>, Vec<String>, tempfile::TempDir) {
        let podman = Arc::new(self.podman);
        let system = System {
            run: podman.clone(),
            root: PathPrefix::new(self.dir.path()),
            ..System::simulated(self.dir.path())
        };
        let Value::Object(instance_info) = &self.instance_info else {
            panic!("an object")
        };
        let done = install(BootcInstall {
            system: &system,
            config: &self.config,
            image_source: self.source,
            instance_info,
            pull_secret: self.secret.as_ref(),
            configdrive: self.configdrive.as_deref(),
            device: &self.device,
            task: &Task::detached(),
            installed: &LastDeployment::default(),
        })
        .await;
        let left = podman.private();
        assert!(left.is_empty(), "left behind: {left:?}");
        let seen = podman.seen.lock().unwrap().clone();
        (done.map_err(Failure::from), seen, self.dir)
    }
}

const RUN: &str = "podman --log-level=debug run --rm --privileged --pid=host --pull=never \
    -v /var/lib/containers:/var/lib/containers -v /dev:/dev";

#[tokio::test]
async fn a_plain_image_is_pulled_and_installs_itself() {
    let machine = Machine::new();
    let disk = machine.device.name.clone();
    let (done, seen, dir) = machine.install().await;
    assert_eq!(
        done.unwrap(),
        format!("Container image (oci://registry.example/os/image:1?x#y) written to device {disk}")
    );
    assert_eq!(
        seen,
        [
            "podman pull --retry-delay=5s registry.example/os/image:1".to_owned(),
            "getenforce".to_owned(),
            format!(
                "{RUN} registry.example/os/image:1 bootc install to-disk --wipe \
                 --skip-fetch-check --root-size=3328M --disable-selinux {disk}"
            ),
        ]
    );
    let setting = dir
        .path()
        .join("etc/containers/containers.conf.d/01-ipa.conf");
    assert_eq!(fs::read_to_string(setting).unwrap(), SETTING);
}

/// Podman 4, which Debian 12 has, knows fewer options for pulling than podman 5.
#[tokio::test]
async fn an_older_podman_pulls_without_the_option_that_it_does_not_have() {
    let mut machine = Machine::new();
    machine.secret = Some(Secret::new(STANDARD.encode("dXNlcjpwYXNz")));
    machine.podman.is_old = true;
    let (done, seen, _dir) = machine.install().await;
    done.unwrap();
    let pulls: Vec<_> = seen.iter().filter(|line| line.contains(" pull ")).collect();
    let [first, second] = pulls[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(first.replace(" --retry-delay=5s", ""), *second);
    assert!(second.contains("--authfile="), "{second}");
}

#[tokio::test]
async fn the_credential_is_gone_before_the_tenants_code_runs() {
    let mut machine = Machine::new();
    machine.secret = Some(Secret::new(STANDARD.encode("dXNlcjpwYXNz\n")));
    machine.instance_info =
        json!({"bootc_authorized_keys": "ssh-ed25519 AAAA root", "bootc_tpm2_luks": true});
    machine.podman.selinux = Some("Permissive\n");
    let disk = machine.device.name.clone();
    let (done, seen, _dir) = machine.install().await;
    done.unwrap();
    let [pull, credential, enforce, run, keys] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert!(pull.starts_with("podman pull --authfile="), "{pull}");
    assert!(pull.contains("/ipa-container-auth-"), "{pull}");
    assert!(
        pull.ends_with(".json --retry-delay=5s registry.example/os/image:1"),
        "{pull}"
    );
    assert_eq!(
        credential,
        r#"  {"auths":{"registry.example":{"auth":"dXNlcjpwYXNz"}}}"#
    );
    assert_eq!(enforce, "getenforce");
    let start = format!(
        "{RUN} -v /tmp:/tmp --security-opt label=type:unconfined_t registry.example/os/image:1 \
         bootc install to-disk --wipe --skip-fetch-check --root-size=3328M \
         --block-setup=tpm2-luks --root-ssh-authorized-keys="
    );
    assert!(run.starts_with(&start), "{run}");
    assert!(run.ends_with(&format!(" {disk}")), "{run}");
    assert!(!run.contains("authfile"), "{run}");
    assert_eq!(keys, "  ssh-ed25519 AAAA root");
}

#[tokio::test]
async fn a_config_drive_stands_behind_what_the_container_made() {
    let mut drive = vec![0; 40_000];
    drive[32768..32774].copy_from_slice(b"\x01CD001");
    drive[39_999] = 9;
    let mut machine = Machine::new();
    machine.configdrive = Some(STANDARD.encode(&drive));
    let disk = machine.device.name.clone();
    let (done, _, _dir) = machine.install().await;
    done.unwrap();
    let mut file = fs::File::open(&disk).unwrap();
    let table = gptman::GPT::find_from(&mut file).unwrap();
    assert!(table[1].is_used() && table[2].is_used());
    file.seek(SeekFrom::Start(table[2].starting_lba * 512))
        .unwrap();
    let mut written = vec![0; drive.len()];
    file.read_exact(&mut written).unwrap();
    assert!(written == drive);
}

#[tokio::test]
async fn each_way_to_fail_has_its_class() {
    type Edit = fn(&mut Machine);
    let cases: [(Edit, FailureKind, &str, usize); 9] = [
        (
            |m| m.config.disable_bootc_deploy = true,
            FailureKind::CommandExecution,
            "administratively disabled",
            0,
        ),
        (
            |m| m.source = "oci://--privileged",
            FailureKind::InvalidImage,
            "'image_source'",
            0,
        ),
        (
            |m| m.instance_info = json!({"bootc_authorized_keys": 5}),
            FailureKind::CommandExecution,
            "'instance_info.bootc_authorized_keys' must be a text",
            0,
        ),
        (
            |m| m.device.size = 768 << 20,
            FailureKind::DeviceNotFound,
            "more than 768 MiB",
            0,
        ),
        (
            |m| m.secret = Some(Secret::new("%")),
            FailureKind::ImageDownload,
            "'pull_secret' is not base64",
            0,
        ),
        (
            |m| m.podman.pulled = || failed("no such image"),
            FailureKind::ImageDownload,
            "Failed to pull container image: ",
            1,
        ),
        (
            |m| m.podman.ran = || failed("disk full"),
            FailureKind::ImageWrite,
            "disk full",
            3,
        ),
        (
            |m| m.podman.ran = || failed("Error: executable file `bootc` not found in $PATH"),
            FailureKind::ImageDownload,
            "does not contain bootc",
            3,
        ),
        (
            |m| m.podman.ran = || Ok(output("", "executable file `bootc` not found")),
            FailureKind::ImageDownload,
            "does not contain bootc",
            3,
        ),
    ];
    for (edit, kind, text, programs) in cases {
        let mut machine = Machine::new();
        edit(&mut machine);
        let (done, seen, _dir) = machine.install().await;
        let failure = done.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.details.contains(text), "{failure}");
        assert_eq!(seen.len(), programs, "{seen:?}");
    }
}

#[tokio::test]
async fn a_disk_without_partitions_is_no_success() {
    let machine = Machine::new();
    fs::write(&machine.device.name, vec![0; 1 << 20]).unwrap();
    let (done, _, _dir) = machine.install().await;
    assert_eq!(done.unwrap_err().kind, FailureKind::Deployment);
}

#[test]
fn references_are_what_podman_wants() {
    for (source, registry, image) in [
        ("oci://q.io/a/b:c", "q.io", "q.io/a/b:c"),
        (
            "docker://q.io:5000/a@sha256:1",
            "q.io:5000",
            "q.io:5000/a@sha256:1",
        ),
        ("q.io/a", "q.io", "q.io/a"),
    ] {
        let reference = ContainerReference::new(source).unwrap();
        assert_eq!(
            (reference.registry.as_str(), reference.image.as_str()),
            (registry, image)
        );
    }
    for source in ["", "oci://", "oci://-v", "oci://a b", "oci://a\nb"] {
        assert!(ContainerReference::new(source).is_err(), "{source:?}");
    }
}

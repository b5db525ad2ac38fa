//! What is run, to the last word.

use serde_json::json;
use tokio::time::Instant;

use super::error::BurnInProgramError;
use super::*;
use crate::hardware::StepError;
use crate::hardware::generic::testing::Bench;
use crate::machine::testing::FakeMachine;
use crate::system::RunError;
use crate::system::process::Script;

fn bench(driver_info: Value) -> Bench {
    let mut machine = FakeMachine::new();
    machine.virtio_disk("vda", 4 << 20, "A");
    machine.nvme_disk("nvme0n1", 4 << 20, "B", "eui.1");
    // Whether a disk may be erased is asked of the disk itself.
    for name in ["vda", "nvme0n1"] {
        machine.bytes(&format!("dev/{name}"), &vec![0; 4 << 20]);
    }
    Bench::new(machine).node(json!({"driver_info": driver_info}))
}

fn burn_in_error(result: Result<Value, StepError>) -> BurnInError {
    match result.unwrap_err() {
        StepError::BurnIn(error) => error,
        other => panic!("{other:?}"),
    }
}

fn missing(program: &str) -> RunError {
    RunError::Missing {
        program: program.to_owned(),
    }
}

fn status(status: i32) -> RunError {
    RunError::Failed {
        program: "fio".to_owned(),
        command: "fio".to_owned(),
        status,
        stderr: String::new(),
    }
}

#[tokio::test]
async fn processors_and_memory() {
    let cases = [
        (
            &CPU,
            json!({}),
            "stress-ng --cpu 0 --timeout 86400 --metrics-brief",
        ),
        (
            &CPU,
            json!({
                "agent_burnin_cpu_cpu": 3, "agent_burnin_cpu_timeout": "2911",
                "agent_burnin_cpu_outputfile": "/var/log/cpu",
            }),
            "stress-ng --cpu 3 --timeout 2911 --metrics-brief --log-file /var/log/cpu",
        ),
        (
            &MEMORY,
            json!({}),
            "stress-ng --vm 0 --timeout 86400 --vm-bytes 98% --metrics-brief",
        ),
        (
            &MEMORY,
            json!({
                "agent_burnin_vm_vm": 2, "agent_burnin_vm_vm-bytes": "25%",
                "agent_burnin_vm_timeout": 120,
            }),
            "stress-ng --vm 2 --timeout 120 --vm-bytes 25% --metrics-brief",
        ),
    ];
    for (step, options, command) in cases {
        let (result, _) = bench(options)
            .run(step, Script::new().expect(command, ""))
            .await;
        assert_eq!(result.unwrap(), Value::Null);
    }
    let script = Script::new().expect_result(
        "stress-ng --cpu 0 --timeout 86400 --metrics-brief",
        Err(missing("stress-ng")),
    );
    let (result, _) = bench(json!({})).run(&CPU, script).await;
    assert!(matches!(
        burn_in_error(result),
        BurnInError::Program(BurnInProgramError::Missing { .. })
    ));
}

const FIO: &str = "fio --rw readwrite --bs 4k --direct 1 --ioengine libaio --iodepth 32 \
                   --verify crc32c --verify_dump 1 --continue_on_error verify";

#[tokio::test]
async fn disks_that_may_be_erased_and_no_others() {
    let command =
        format!("{FIO} --loops 4 --runtime 0 --time_based --name /dev/nvme0n1 --name /dev/vda");
    let (result, _) = bench(json!({}))
        .run(&DISK, Script::new().expect(&command, ""))
        .await;
    assert_eq!(result.unwrap(), Value::Null);

    let skipping = || {
        let mut bench = bench(json!({
            "agent_burnin_fio_disk_loops": 5, "agent_burnin_fio_disk_runtime": 600,
            "agent_burnin_fio_disk_outputfile": "/tmp/out",
            "agent_burnin_fio_disk_smart_test": "true",
        }));
        let skip = json!({"skip_block_devices": [{"name": "/dev/vda"}]});
        bench.node.0.insert("properties".to_owned(), skip);
        bench
    };
    let command = format!(
        "{FIO} --loops 5 --runtime 600 --time_based --output-format json --output /tmp/out \
         --name /dev/nvme0n1"
    );
    let failed = json!({"nvme_self_test_log": {"table": [{"self_test_result": {"value": 6}}]}});
    let passed = json!({"nvme_self_test_log": {"table": [{"self_test_result": {"value": 0}}]}});
    for (report, fine) in [(passed, true), (failed, false)] {
        let script = Script::new()
            .expect(&command, "")
            .expect("smartctl -t long /dev/nvme0n1", "")
            .expect("smartctl -ja /dev/nvme0n1", &report.to_string());
        let (result, notes) = skipping().run(&DISK, script).await;
        assert_eq!(result.is_ok(), fine, "{result:?}");
        assert!(notes[0].starts_with("/dev/vda is left alone"), "{notes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn drives_test_themselves_or_the_step_says_why_not() {
    let fio =
        format!("{FIO} --loops 4 --runtime 0 --time_based --name /dev/nvme0n1 --name /dev/vda");
    let run = async |script: Script| {
        let options = json!({"agent_burnin_fio_disk_smart_test": true});
        bench(options).run(&DISK, script).await.0
    };
    let start = "smartctl -t long /dev/nvme0n1";
    let script = Script::new()
        .expect(&fio, "")
        .expect_result(start, Err(missing("smartctl")));
    let failure = burn_in_error(run(script).await);
    assert!(
        matches!(&failure, BurnInError::SelfTestNotStarted { disk, .. } if disk == "/dev/nvme0n1"),
        "{failure:?}"
    );
    let text = failure.to_string();
    assert!(text.contains("/dev/nvme0n1 did not start"), "{text}");

    let began = Instant::now();
    let ata = |text| json!({"ata_smart_data": {"self_test": {"status": {"string": text}}}});
    let script = Script::new()
        .expect(&fio, "")
        .expect(start, "")
        .expect("smartctl -t long /dev/vda", "")
        .expect("smartctl -ja /dev/nvme0n1", &ata("in progress").to_string())
        .expect(
            "smartctl -ja /dev/nvme0n1",
            &ata("completed without error").to_string(),
        )
        // A drive that does not say is not a failure.
        .expect("smartctl -ja /dev/vda", "{}");
    assert_eq!(run(script).await.unwrap(), Value::Null);
    assert_eq!(began.elapsed().as_secs(), 30);
}

/// What `fio` ends with while nobody listens at the other end.
const NO_PARTNER: i32 = 16;

const NET: &str = "fio --ioengine net --port 9000 --fill_device 1 --group_reporting \
                   --gtod_reduce 1 --numjobs 16";

#[tokio::test(start_paused = true)]
async fn both_directions_of_the_network() {
    let config = json!({"role": "writer", "partner": "other"});
    let options = json!({
        "agent_burnin_fio_network_config": config, "agent_burnin_fio_network_outputfile": "/o",
    });
    let writer = format!(
        "{NET} --name writer --rw write --runtime 21600 --time_based --listen \
         --output-format json --output /o.writer"
    );
    let reader = format!(
        "{NET} --name reader --rw read --hostname other --output-format json --output /o.reader"
    );
    let script = || Script::new().expect(&writer, "");
    let begin = Instant::now();
    let patient = script()
        .expect_result(&reader, Err(status(NO_PARTNER)))
        .expect(&reader, "");
    let (result, _) = bench(options.clone()).run(&NETWORK, patient).await;
    assert_eq!(result.unwrap(), Value::Null);
    assert_eq!(begin.elapsed().as_secs(), 30);

    let broken = script().expect_result(&reader, Err(status(1)));
    let (result, _) = bench(options).run(&NETWORK, broken).await;
    assert!(result.is_err());
}

#[tokio::test]
async fn a_network_without_roles_is_refused() {
    for (options, named) in [
        (json!({}), "must be an object"),
        (
            json!({"agent_burnin_fio_network_config": {"role": "reader"}}),
            "partner must be",
        ),
        (
            json!({"agent_burnin_fio_network_config": {"role": "bogus", "partner": "x"}}),
            "role must be writer or reader, not 'bogus'",
        ),
        (
            json!({"agent_burnin_fio_network_pairing_backend_url": "etcd3://x"}),
            "over ZooKeeper only",
        ),
    ] {
        let (result, _) = bench(options).run(&NETWORK, Script::new()).await;
        let failure = burn_in_error(result);
        assert!(
            matches!(failure, BurnInError::Network(_) | BurnInError::Pairing(_)),
            "{failure:?}"
        );
        assert!(failure.to_string().contains(named), "{failure}");
    }
}

#[tokio::test]
async fn graphics_cards_are_counted_first() {
    let options = json!({"agent_burnin_gpu_count": 2});
    let listed = |cards: &str| Script::new().expect("./gpu_burn -l", cards);
    let (result, _) = bench(options.clone())
        .run(&GPU, listed("ID 0: card\n"))
        .await;
    let failure = burn_in_error(result);
    assert!(matches!(
        failure,
        BurnInError::GpusMissing {
            found: 1,
            expected: 2
        }
    ));
    let both = listed("ID 0: card\nID 1: card\n").expect("./gpu_burn -m 95% 86400", "");
    let (result, _) = bench(options).run(&GPU, both).await;
    assert_eq!(result.unwrap(), Value::Null);
}

#[tokio::test]
async fn without_its_program_a_burn_in_fails_by_name() {
    let network = json!({
        "agent_burnin_fio_network_config": {"role": "reader", "partner": "other"},
        "agent_burnin_gpu_install_dir": "/opt/elsewhere", "agent_burnin_gpu_timeout": 3,
        "agent_burnin_gpu_memory": "10%",
    });
    let disks =
        format!("{FIO} --loops 4 --runtime 0 --time_based --name /dev/nvme0n1 --name /dev/vda");
    let reader = format!("{NET} --name reader --rw read --hostname other");
    for (step, program, command) in [
        (
            &CPU,
            "stress-ng",
            "stress-ng --cpu 0 --timeout 86400 --metrics-brief",
        ),
        (
            &MEMORY,
            "stress-ng",
            "stress-ng --vm 0 --timeout 86400 --vm-bytes 98% --metrics-brief",
        ),
        (&DISK, "fio", disks.as_str()),
        (&NETWORK, "fio", reader.as_str()),
        (&GPU, "./gpu_burn", "./gpu_burn -m 10% 3"),
    ] {
        let script = Script::new().expect_result(command, Err(missing(program)));
        let (result, _) = bench(network.clone()).run(step, script).await;
        let failure = burn_in_error(result);
        assert!(matches!(failure, BurnInError::Program(_)), "{failure:?}");
        assert!(failure.to_string().contains(program), "{failure}");
    }
}

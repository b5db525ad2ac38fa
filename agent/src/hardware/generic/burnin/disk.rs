//! Disks: written and read back by `fio`, and then asked for their own opinion.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::error::{BurnInError, FailedSelfTest};
use super::options::{option, option_or};
use super::program::{execute, log_output};
use crate::hardware::StepContext;
use crate::machine::ironic_node::{Node, as_flag};
use crate::system::Cmd;

/// How often a drive is asked whether its self-test has ended.
const TEST_PERIOD: Duration = Duration::from_secs(30);
/// The largest drives take two days.
const MAX_TEST_TIME: Duration = Duration::from_secs(4 * 24 * 3600);

/// One run for all disks at once.
pub(super) fn command(node: &Node, disks: &[String]) -> Cmd {
    let file = option(node, "fio_disk_outputfile");
    let output = file.into_iter().flat_map(|file| {
        ["--output-format", "json", "--output"]
            .map(str::to_owned)
            .into_iter()
            .chain([file])
    });
    Cmd::new("fio")
        .args(["--rw", "readwrite", "--bs", "4k", "--direct", "1"])
        .args(["--ioengine", "libaio", "--iodepth", "32"])
        .args(["--verify", "crc32c", "--verify_dump", "1"])
        .args(["--continue_on_error", "verify"])
        .args(["--loops".to_owned(), option_or(node, "fio_disk_loops", "4")])
        .args([
            "--runtime".to_owned(),
            option_or(node, "fio_disk_runtime", "0"),
        ])
        .arg("--time_based")
        .args(output)
        .args(
            disks
                .iter()
                .flat_map(|disk| ["--name".to_owned(), disk.clone()]),
        )
}

pub(super) async fn run(ctx: StepContext<'_>, disks: &[String]) -> Result<(), BurnInError> {
    if disks.is_empty() {
        return Err(BurnInError::NoDisk);
    }
    log_output(&execute(ctx, command(ctx.node, disks)).await?.stdout);
    let tested = ctx
        .node
        .value("driver_info", "agent_burnin_fio_disk_smart_test")
        .and_then(as_flag)
        .unwrap_or_default();
    if tested {
        self_test(ctx, disks).await?;
    }
    Ok(())
}

/// Lets every drive test itself, all at the same time.
async fn self_test(ctx: StepContext<'_>, disks: &[String]) -> Result<(), BurnInError> {
    for disk in disks {
        let start = Cmd::new("smartctl").args(["-t", "long", disk.as_str()]);
        let started = execute(ctx, start).await;
        started.map_err(|source| BurnInError::SelfTestNotStarted {
            disk: disk.clone(),
            source: Box::new(source),
        })?;
    }
    let mut failed = Vec::new();
    let begin = Instant::now();
    for disk in disks {
        loop {
            // The exit status is a set of bits about the drive's past, not about this call.
            let ask = Cmd::new("smartctl")
                .args(["-ja", disk.as_str()])
                .accept((0..=255).collect::<Vec<_>>());
            let answer = execute(ctx, ask).await?;
            match self_test_result(&answer.stdout) {
                SelfTestResult::Running if begin.elapsed() > MAX_TEST_TIME => {
                    failed.push(FailedSelfTest {
                        disk: disk.clone(),
                        result: None,
                    });
                    break;
                }
                SelfTestResult::Running => {
                    tokio::select! {
                        () = tokio::time::sleep(TEST_PERIOD) => {}
                        () = ctx.task.cancelled() => return Err(ctx.task.cancellation().into()),
                    }
                }
                SelfTestResult::Passed => break,
                SelfTestResult::Failed(result) => {
                    failed.push(FailedSelfTest {
                        disk: disk.clone(),
                        result: Some(result),
                    });
                    break;
                }
                SelfTestResult::Unknown => {
                    ctx.task
                        .warn(format!("{disk} does not tell how its self-test went"));
                    break;
                }
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(BurnInError::SelfTests(failed))
}

/// How a drive's test of itself went.
#[derive(Debug, PartialEq, Eq)]
enum SelfTestResult {
    Running,
    Passed,
    Failed(String),
    Unknown,
}

/// What `smartctl -ja` says: ATA drives in words, NVMe and SCSI drives by numbers.
fn self_test_result(printed: &[u8]) -> SelfTestResult {
    let Ok(report) = serde_json::from_slice::<Value>(printed) else {
        return SelfTestResult::Unknown;
    };
    let ata = &report["ata_smart_data"]["self_test"]["status"]["string"];
    if let Some(text) = ata.as_str() {
        return of_text(text);
    }
    let nvme = &report["nvme_self_test_log"];
    if nvme["current_self_test_operation"]["value"]
        .as_u64()
        .is_some_and(|value| value != 0)
    {
        return SelfTestResult::Running;
    }
    let newest = &nvme["table"][0]["self_test_result"];
    match (newest["value"].as_u64(), newest["string"].as_str()) {
        (Some(0), _) => return SelfTestResult::Passed,
        (Some(value), text) => {
            return SelfTestResult::Failed(text.map_or_else(|| value.to_string(), str::to_owned));
        }
        (None, _) => {}
    }
    match report["scsi_self_test_0"]["result"]["string"].as_str() {
        Some(text) if text.eq_ignore_ascii_case("completed") => SelfTestResult::Passed,
        Some(text) => of_text(text),
        None => SelfTestResult::Unknown,
    }
}

fn of_text(text: &str) -> SelfTestResult {
    let lower = text.to_ascii_lowercase();
    if lower.contains("in progress") {
        SelfTestResult::Running
    } else if lower.contains("completed without error") {
        SelfTestResult::Passed
    } else {
        SelfTestResult::Failed(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drives_of_every_kind_tell() {
        let ata =
            |text: &str| json!({"ata_smart_data": {"self_test": {"status": {"string": text}}}});
        let nvme = |now: u64, result: u64| {
            json!({"nvme_self_test_log": {
                "current_self_test_operation": {"value": now},
                "table": [{"self_test_result": {"value": result, "string": "Fatal error"}}],
            }})
        };
        let scsi = |text: &str| json!({"scsi_self_test_0": {"result": {"string": text}}});
        let failed = |text: &str| SelfTestResult::Failed(text.to_owned());
        let cases = [
            (ata("in progress, 90% remaining"), SelfTestResult::Running),
            (ata("completed without error"), SelfTestResult::Passed),
            (
                ata("completed: read failure"),
                failed("completed: read failure"),
            ),
            (nvme(2, 0), SelfTestResult::Running),
            (nvme(0, 0), SelfTestResult::Passed),
            (nvme(0, 6), failed("Fatal error")),
            (scsi("Completed"), SelfTestResult::Passed),
            (scsi("Self test in progress ..."), SelfTestResult::Running),
            (scsi("Failed in segment"), failed("Failed in segment")),
            (json!({}), SelfTestResult::Unknown),
        ];
        for (printed, expected) in cases {
            assert_eq!(
                self_test_result(printed.to_string().as_bytes()),
                expected,
                "{printed}"
            );
        }
        assert_eq!(self_test_result(b"not JSON"), SelfTestResult::Unknown);
    }
}

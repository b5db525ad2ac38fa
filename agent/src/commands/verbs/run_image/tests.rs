//! Which kernel may be started, and by which order.

use super::*;
use crate::commands::testing;
use crate::config::AgentConfig;
use crate::system::System;

#[test]
fn a_kernel_is_not_started_for_ironic() {
    let context = testing::context(AgentConfig::default());
    let kexec = RunImage { kexec: true };
    kexec.check(&context).unwrap();
    context.node.mark_ironics(true);
    let failure = kexec.check(&context).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidCommandParams);
    assert!(failure.details.starts_with("run_image.kexec: "));
    RunImage { kexec: false }.check(&context).unwrap();
}

#[test]
fn no_call_of_ironic_can_ask_for_it() {
    let request = testing::request("standby.run_image", serde_json::json!({"kexec": true}));
    let misuse = request.command.unwrap_err();
    let sentence = misuse.sentence(request.verb);
    let python = "StandbyExtension.run_image() got an unexpected keyword argument 'kexec'";
    assert_eq!(sentence, python);
}

#[tokio::test]
async fn a_simulation_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sda"), [0; 4096]).unwrap();
    let mut context = testing::context(AgentConfig::default());
    context.system = System::simulated(directory.path());
    let kexec = RunImage { kexec: true };
    let plan = kexec.plan(&context).await.unwrap();
    assert!(plan.actions[0].description.contains("without the firmware"));
    let answer = kexec.run(&context, &Task::detached()).await.unwrap();
    assert_eq!(answer, Value::Null);
}

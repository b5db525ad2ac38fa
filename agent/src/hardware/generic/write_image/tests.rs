//! What the step adds to writing an image: arguments, the choice of the disk, the answer.

use ironic_document::JsonObject;
use serde_json::json;

use super::*;
use crate::failure::FailureKind;
use crate::hardware::ManagerRegistry;
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::machine::testing::FakeMachine;
use crate::steps;
use crate::task::Task;

/// Runs or plans the step through the machinery.
async fn through(
    machine: &FakeMachine,
    args: Value,
    only_plan: bool,
) -> Result<Value, crate::failure::Failure> {
    let (system, config) = (machine.system(), AgentConfig::default());
    let (task, installed) = (Task::detached(), LastDeployment::default());
    let node = Node(JsonObject::from_iter([("uuid".to_owned(), json!("u"))]));
    let ctx = StepContext {
        system: &system,
        config: &config,
        node: &node,
        ports: &[],
        task: &task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    let registry = ManagerRegistry::compiled_in(&system).unwrap();
    let step = json!({"interface": "deploy", "step": "write_image", "args": args});
    let step = step.as_object().unwrap().clone();
    let order = steps::StepRequest {
        phase: StepPhase::Deploy,
        step: &step,
        version: None,
        arguments: &JsonObject::new(),
    };
    if only_plan {
        let actions = steps::plan(order, &registry, ctx).await?;
        let lines = actions.iter().map(|action| action.description.clone());
        return Ok(lines.collect::<Vec<_>>().into());
    }
    Ok(steps::execute(order, &registry, ctx).await?)
}

fn image_info() -> Value {
    json!({"id": "cirros", "urls": ["http://192.0.2.1/image"], "os_hash_algo": "sha256",
        "os_hash_value": "00", "disk_format": "raw", "stream_raw_images": true})
}

#[tokio::test]
async fn wrong_arguments_and_missing_disks_are_named_before_anything_is_fetched() {
    let machine = FakeMachine::new();
    let cases = [
        (
            json!({}),
            FailureKind::Deployment,
            "missing 1 required positional argument: 'image_info'",
        ),
        (
            json!({"image_info": "text"}),
            FailureKind::Deployment,
            "argument 'image_info' must be an object, not a text",
        ),
        (
            json!({"image_info": image_info(), "configdrive": {}}),
            FailureKind::Deployment,
            "argument 'configdrive' must be a text, not an object",
        ),
        (
            json!({"image_info": {}}),
            FailureKind::InvalidCommandParams,
            "",
        ),
        (
            json!({"image_info": image_info(), "configdrive": null}),
            FailureKind::DeviceNotFound,
            "No disks were found at all.",
        ),
    ];
    for (args, kind, text) in cases {
        let failure = through(&machine, args.clone(), false).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{args}: {}", failure.details);
        assert!(
            failure.details.contains(text),
            "{args}: {}",
            failure.details
        );
    }
}

#[tokio::test]
async fn the_plan_names_the_disk() {
    let mut machine = FakeMachine::new();
    machine.virtio_disk("vda", 1 << 32, "x");
    let plan = through(
        &machine,
        json!({"image_info": image_info(), "configdrive": "x"}),
        true,
    );
    assert_eq!(
        plan.await.unwrap(),
        json!([
            "Write image cirros to /dev/vda",
            "Place the config drive at the end of /dev/vda"
        ])
    );
}

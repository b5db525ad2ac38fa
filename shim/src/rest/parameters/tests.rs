use ironic_document as document;
use prost_types::Struct;
use serde_json::json;

use v1::StepPhase;
use v1::command::Verb;

use super::*;

fn parsed(name: &str, parameters: Value) -> Result<v1::Command, InvalidCall> {
    let Value::Object(parameters) = parameters else {
        unreachable!("parameters are objects")
    };
    let (extension, command) = name.split_once('.').unwrap();
    super::command(extension, command, parameters)
}

fn object(value: Value) -> Struct {
    match value {
        Value::Object(object) => document::to_struct(object, "").unwrap(),
        _ => unreachable!("the table holds objects"),
    }
}

#[test]
fn every_verb_is_read_from_what_the_conductor_sends() {
    let node = || json!({"uuid": "u", "driver_info": {"n": 5}});
    let text = |text: &str| Some(text.to_owned());
    let get = |phase: StepPhase| {
        Verb::GetSteps(v1::GetStepsCommand {
            phase: phase.into(),
            node: Some(object(node())),
            ports: vec![object(json!({"address": "02:fc"}))],
        })
    };
    let execute = |phase: StepPhase| {
        Verb::ExecuteStep(v1::ExecuteStepCommand {
            phase: phase.into(),
            step: Some(object(json!({"step": "s", "interface": "deploy"}))),
            node: Some(object(node())),
            ports: Vec::new(),
            version: Some(document::to_value(json!({"m": "1.2"}), "").unwrap()),
            arguments: Some(object(json!({"extra": 1}))),
        })
    };
    let steps = || json!({"node": node(), "ports": [{"address": "02:fc"}]});
    let step = |version: &str| json!({"step": {"step": "s", "interface": "deploy"}, "node": node(), "ports": [], version: {"m": "1.2"}, "extra": 1});
    let cases = [
        ("clean.get_clean_steps", steps(), get(StepPhase::Clean)),
        ("deploy.get_deploy_steps", steps(), get(StepPhase::Deploy)),
        (
            "service.get_service_steps",
            steps(),
            get(StepPhase::Service),
        ),
        (
            "clean.execute_clean_step",
            step("clean_version"),
            execute(StepPhase::Clean),
        ),
        (
            "deploy.execute_deploy_step",
            step("deploy_version"),
            execute(StepPhase::Deploy),
        ),
        (
            "service.execute_service_step",
            step("service_version"),
            execute(StepPhase::Service),
        ),
        (
            "standby.prepare_image",
            json!({"image_info": {"id": "i"}, "configdrive": "H4sI"}),
            Verb::PrepareImage(v1::PrepareImageCommand {
                image_info: Some(object(json!({"id": "i"}))),
                configdrive: text("H4sI"),
            }),
        ),
        (
            "standby.execute_bootc_install",
            json!({"image_source": "oci://r/i", "instance_info": {}, "pull_secret": "s", "configdrive": null}),
            Verb::ExecuteBootcInstall(v1::ExecuteBootcInstallCommand {
                image_source: "oci://r/i".into(),
                instance_info: Some(Struct::default()),
                pull_secret: text("s"),
                configdrive: None,
            }),
        ),
        (
            "standby.run_image",
            json!({}),
            Verb::RunImage(v1::RunImageCommand { kexec: false }),
        ),
        (
            "standby.power_off",
            json!({}),
            Verb::PowerOff(v1::PowerOffCommand {}),
        ),
        ("standby.sync", json!({}), Verb::Sync(v1::SyncCommand {})),
        (
            "standby.get_partition_uuids",
            json!({}),
            Verb::GetPartitionUuids(v1::GetPartitionUuidsCommand {}),
        ),
        (
            "image.install_bootloader",
            json!({"root_uuid": "0x1", "efi_system_part_uuid": null, "prep_boot_part_uuid": null, "target_boot_mode": "uefi"}),
            Verb::InstallBootloader(v1::InstallBootloaderCommand {
                root_uuid: text("0x1"),
                target_boot_mode: text("uefi"),
                ..Default::default()
            }),
        ),
        (
            "log.collect_system_logs",
            json!({}),
            Verb::CollectSystemLogs(v1::CollectSystemLogsCommand {}),
        ),
        (
            "rescue.finalize_rescue",
            json!({"rescue_password": "$5$", "hashed": true}),
            Verb::FinalizeRescue(v1::FinalizeRescueCommand {
                rescue_password: "$5$".into(),
                hashed: true,
            }),
        ),
        (
            "system.lockdown",
            json!({}),
            Verb::Lockdown(v1::LockdownCommand {}),
        ),
        (
            "poll.get_hardware_info",
            json!({}),
            Verb::GetHardwareInfo(v1::GetHardwareInfoCommand {}),
        ),
        (
            "poll.set_node_info",
            json!({"node_info": {"node": {}}}),
            Verb::SetNodeInfo(v1::SetNodeInfoCommand {
                node_info: Some(object(json!({"node": {}}))),
            }),
        ),
        (
            "flow.start_flow",
            json!({"flow": [{"standby.sync": {}}]}),
            Verb::StartFlow(v1::StartFlowCommand {
                flow: Some(document::to_list(vec![json!({"standby.sync": {}})], "").unwrap()),
            }),
        ),
    ];
    for (name, parameters, verb) in cases {
        let command = parsed(name, parameters).unwrap();
        assert_eq!(command.verb, Some(verb), "{name}");
        assert_eq!(command.unexpected_arguments, Vec::<String>::new(), "{name}");
        // What a command does not know is passed on by name, in the order in which it came.
        let odd = parsed(name, json!({"zz": 1, "b": 2, "aa": null}));
        let named = odd.unwrap().unexpected_arguments;
        if name.contains(".execute_") && !name.contains("bootc") {
            assert_eq!(named, Vec::<String>::new(), "{name}");
        } else {
            assert_eq!(named, ["zz", "b", "aa"], "{name}");
        }
    }
}

#[test]
fn what_is_missing_or_null_stays_absent() {
    for parameters in [
        json!({}),
        json!({"step": null, "node": null, "ports": null, "clean_version": null}),
    ] {
        let command = parsed("clean.execute_clean_step", parameters).unwrap();
        let Some(Verb::ExecuteStep(step)) = command.verb else {
            panic!("{command:?}")
        };
        assert_eq!((step.step, step.node, step.version), (None, None, None));
        assert_eq!(step.arguments, Some(Struct::default()));
    }
}

#[test]
fn a_value_of_the_wrong_shape_is_refused_by_name() {
    let big = 9_007_199_254_740_993_u64;
    let cases = [
        (
            "clean.get_clean_steps",
            json!({"node": 5}),
            "'node' must be an object, but is a number",
        ),
        (
            "clean.get_clean_steps",
            json!({"node": "n"}),
            "'node' must be an object, but is a string",
        ),
        (
            "clean.get_clean_steps",
            json!({"ports": {}}),
            "'ports' must be a list of objects, but is an object",
        ),
        (
            "clean.get_clean_steps",
            json!({"ports": [{}, 1]}),
            "'ports[1]' must be an object, but is a number",
        ),
        (
            "clean.execute_clean_step",
            json!({"step": []}),
            "'step' must be an object, but is a list",
        ),
        (
            "standby.prepare_image",
            json!({"image_info": true}),
            "'image_info' must be an object, but is a boolean",
        ),
        (
            "standby.prepare_image",
            json!({"configdrive": {}}),
            "'configdrive' must be a string, but is an object",
        ),
        (
            "rescue.finalize_rescue",
            json!({"hashed": "yes"}),
            "'hashed' must be true or false, but is a string",
        ),
        (
            "flow.start_flow",
            json!({"flow": "x"}),
            "'flow' must be a list, but is a string",
        ),
        (
            "deploy.get_deploy_steps",
            json!({"node": {"extra": {"serial": big}}}),
            "node.extra.serial is 9007199254740993: an integer beyond 2^53 cannot be carried exactly, send it as a string",
        ),
        (
            "deploy.get_deploy_steps",
            json!({"ports": [{"n": [big]}]}),
            "ports[0].n[0] is 9007199254740993: an integer beyond 2^53 cannot be carried exactly, send it as a string",
        ),
        (
            "service.execute_service_step",
            json!({"extra": big}),
            "extra is 9007199254740993: an integer beyond 2^53 cannot be carried exactly, send it as a string",
        ),
    ];
    for (name, parameters, sentence) in cases {
        let error = parsed(name, parameters).unwrap_err();
        assert!(matches!(error, InvalidCall::Argument(_)), "{error:?}");
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn what_does_not_exist_is_distinguished() {
    let unknown = |name| parsed(name, json!({})).unwrap_err();
    for name in ["nope.cmd", ".", "Clean.get_clean_steps", "raid.x"] {
        assert_eq!(unknown(name), InvalidCall::Extension, "{name}");
    }
    for name in [
        "clean.get_deploy_steps",
        "standby.nope",
        "standby.a.b",
        "standby.",
        "image.x",
        "flow.x",
        "log.x",
        "poll.x",
        "rescue.x",
        "system.x",
    ] {
        assert_eq!(unknown(name), InvalidCall::Command, "{name}");
    }
}

//! The protocol is locked: a descriptor that differs from the golden copy fails, unless it
//! only adds. After a reviewed addition: `UPDATE_GOLDEN=1 cargo test --test contract wire`.

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

const GOLDEN: &str = "tests/golden/ironic.agent.v1.lock";

/// One line for everything on the wire that a peer depends on.
fn lines() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(ironic_agent_protocol::FILE_DESCRIPTOR_SET).unwrap();
    let mut lines = BTreeSet::new();
    for file in set
        .file
        .iter()
        .filter(|file| file.package() == "ironic.agent.v1")
    {
        for message in &file.message_type {
            message_lines(
                &format!("ironic.agent.v1.{}", message.name()),
                message,
                &mut lines,
            );
        }
        for enumeration in &file.enum_type {
            for value in &enumeration.value {
                lines.insert(format!(
                    "enum ironic.agent.v1.{} {} = {}",
                    enumeration.name(),
                    value.name(),
                    value.number()
                ));
            }
        }
        for service in &file.service {
            for method in &service.method {
                lines.insert(format!(
                    "rpc {}.{} {}{} -> {}{}",
                    service.name(),
                    method.name(),
                    if method.client_streaming() {
                        "stream "
                    } else {
                        ""
                    },
                    method.input_type(),
                    if method.server_streaming() {
                        "stream "
                    } else {
                        ""
                    },
                    method.output_type()
                ));
            }
        }
    }
    lines
}

fn message_lines(name: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    for field in &message.field {
        let oneof = field
            .oneof_index
            .filter(|_| !field.proto3_optional())
            .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
            .map(|oneof| format!(" oneof {}", oneof.name()))
            .unwrap_or_default();
        lines.insert(format!(
            "field {name}.{} = {} {:?} {:?} {}{}{oneof}",
            field.name(),
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name(),
            if field.proto3_optional() {
                " optional"
            } else {
                ""
            },
        ));
    }
    for nested in &message.nested_type {
        message_lines(&format!("{name}.{}", nested.name()), nested, lines);
    }
}

#[test]
fn the_protocol_only_grows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    let now = lines();
    assert!(
        now.len() > 100,
        "the descriptor set is incomplete: {} lines",
        now.len()
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text: String = now.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(path).unwrap();
    let locked: BTreeSet<String> = golden.lines().map(str::to_owned).collect();
    let broken: Vec<_> = locked.difference(&now).collect();
    assert!(
        broken.is_empty(),
        "these are on the wire and were changed or removed: {broken:#?}"
    );
    let new: Vec<_> = now.difference(&locked).collect();
    assert!(
        new.is_empty(),
        "additions are fine, but lock them (UPDATE_GOLDEN=1): {new:#?}"
    );
}

#[test]
fn the_protocol_holds_every_verb_of_the_python_agent() {
    let verbs = [
        "get_steps",
        "execute_step",
        "prepare_image",
        "execute_bootc_install",
        "run_image",
        "power_off",
        "sync",
        "get_partition_uuids",
        "install_bootloader",
        "collect_system_logs",
        "finalize_rescue",
        "lockdown",
        "get_hardware_info",
        "set_node_info",
        "start_flow",
    ];
    let lines = lines();
    for verb in verbs {
        let start = format!("field ironic.agent.v1.Command.{verb} = ");
        assert!(
            lines.iter().any(|line| line.starts_with(&start)),
            "{verb} is missing"
        );
    }
}

//! The names of the verbs, and how each of them is called.

use std::fmt;

use serde_json::Value;

use super::{Command, Object};
use crate::failure::Failure;
use crate::steps::Phase;

/// A verb of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `<phase>.get_<phase>_steps`
    GetSteps(Phase),
    /// `<phase>.execute_<phase>_step`
    ExecuteStep(Phase),
    /// `standby.prepare_image`
    PrepareImage,
    /// `standby.execute_bootc_install`
    ExecuteBootcInstall,
    /// `standby.run_image`
    RunImage,
    /// `standby.power_off`
    PowerOff,
    /// `standby.sync`
    Sync,
    /// `standby.get_partition_uuids`
    GetPartitionUuids,
    /// `image.install_bootloader`
    InstallBootloader,
    /// `log.collect_system_logs`
    CollectSystemLogs,
    /// `rescue.finalize_rescue`
    FinalizeRescue,
    /// `system.lockdown`
    Lockdown,
    /// `poll.get_hardware_info`
    GetHardwareInfo,
    /// `poll.set_node_info`
    SetNodeInfo,
    /// `flow.start_flow`
    StartFlow,
}

impl Verb {
    /// Every verb of the protocol.
    pub const ALL: [Self; 19] = [
        Self::GetSteps(Phase::Clean),
        Self::GetSteps(Phase::Deploy),
        Self::GetSteps(Phase::Service),
        Self::ExecuteStep(Phase::Clean),
        Self::ExecuteStep(Phase::Deploy),
        Self::ExecuteStep(Phase::Service),
        Self::PrepareImage,
        Self::ExecuteBootcInstall,
        Self::RunImage,
        Self::PowerOff,
        Self::Sync,
        Self::GetPartitionUuids,
        Self::InstallBootloader,
        Self::CollectSystemLogs,
        Self::FinalizeRescue,
        Self::Lockdown,
        Self::GetHardwareInfo,
        Self::SetNodeInfo,
        Self::StartFlow,
    ];

    /// The verb with this full name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }

    /// Ironic's full name, `<extension>.<command>`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GetSteps(Phase::Clean) => "clean.get_clean_steps",
            Self::GetSteps(Phase::Deploy) => "deploy.get_deploy_steps",
            Self::GetSteps(Phase::Service) => "service.get_service_steps",
            Self::ExecuteStep(Phase::Clean) => "clean.execute_clean_step",
            Self::ExecuteStep(Phase::Deploy) => "deploy.execute_deploy_step",
            Self::ExecuteStep(Phase::Service) => "service.execute_service_step",
            Self::PrepareImage => "standby.prepare_image",
            Self::ExecuteBootcInstall => "standby.execute_bootc_install",
            Self::RunImage => "standby.run_image",
            Self::PowerOff => "standby.power_off",
            Self::Sync => "standby.sync",
            Self::GetPartitionUuids => "standby.get_partition_uuids",
            Self::InstallBootloader => "image.install_bootloader",
            Self::CollectSystemLogs => "log.collect_system_logs",
            Self::FinalizeRescue => "rescue.finalize_rescue",
            Self::Lockdown => "system.lockdown",
            Self::GetHardwareInfo => "poll.get_hardware_info",
            Self::SetNodeInfo => "poll.set_node_info",
            Self::StartFlow => "flow.start_flow",
        }
    }

    /// The name without its extension.
    #[must_use]
    pub fn bare_name(self) -> &'static str {
        bare(self.name())
    }

    /// Whether it is answered while it runs (Ironic calls that asynchronous), or when done.
    #[must_use]
    pub fn background(self) -> bool {
        match self {
            Self::ExecuteStep(_)
            | Self::PrepareImage
            | Self::ExecuteBootcInstall
            | Self::RunImage
            | Self::PowerOff
            | Self::InstallBootloader
            | Self::StartFlow => true,
            Self::GetSteps(_)
            | Self::Sync
            | Self::GetPartitionUuids
            | Self::CollectSystemLogs
            | Self::FinalizeRescue
            | Self::Lockdown
            | Self::GetHardwareInfo
            | Self::SetNodeInfo => false,
        }
    }

    /// The Python agent's name for the extension's class, which its messages quote.
    fn class(self) -> &'static str {
        match self {
            Self::GetSteps(phase) | Self::ExecuteStep(phase) => match phase {
                Phase::Clean => "CleanExtension",
                Phase::Deploy => "DeployExtension",
                Phase::Service => "ServiceExtension",
            },
            Self::PrepareImage
            | Self::ExecuteBootcInstall
            | Self::RunImage
            | Self::PowerOff
            | Self::Sync
            | Self::GetPartitionUuids => "StandbyExtension",
            Self::InstallBootloader => "ImageExtension",
            Self::CollectSystemLogs => "LogExtension",
            Self::FinalizeRescue => "RescueExtension",
            Self::Lockdown => "SystemExtension",
            Self::GetHardwareInfo | Self::SetNodeInfo => "PollExtension",
            Self::StartFlow => "FlowExtension",
        }
    }
}

/// `execute_clean_step` of `clean.execute_clean_step`.
#[must_use]
pub fn bare(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, command)| command)
}

/// How an order's arguments are wrong: the verb cannot be called with them at all.
///
/// The sentences are Python's for a wrong call. Ironic shows them to the operator, and one
/// of its fall-backs looks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misuse {
    /// Arguments that the verb needs and did not get, in the verb's order; at least one.
    Missing(Vec<&'static str>),
    /// An argument that the verb does not have.
    Unexpected(String),
}

impl Misuse {
    /// The failure of `verb`, called like this.
    #[must_use]
    pub fn failure(&self, verb: Verb) -> Failure {
        let call = Call(verb);
        Failure::execution(match self {
            Self::Missing(names) => format!(
                "{call} missing {} required positional argument{}: {}",
                names.len(),
                if names.len() == 1 { "" } else { "s" },
                listing(names)
            ),
            Self::Unexpected(name) => {
                format!("{call} got an unexpected keyword argument '{name}'")
            }
        })
    }
}

/// `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`.
fn listing(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
    }
}

/// `CleanExtension.execute_clean_step()`
struct Call(Verb);

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}()", self.0.class(), self.0.bare_name())
    }
}

impl Command {
    /// The verb of this order.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::GetSteps { phase, .. } => Verb::GetSteps(*phase),
            Self::ExecuteStep(step) => Verb::ExecuteStep(step.phase),
            Self::PrepareImage { .. } => Verb::PrepareImage,
            Self::ExecuteBootcInstall(_) => Verb::ExecuteBootcInstall,
            Self::RunImage => Verb::RunImage,
            Self::PowerOff => Verb::PowerOff,
            Self::Sync => Verb::Sync,
            Self::GetPartitionUuids => Verb::GetPartitionUuids,
            Self::InstallBootloader(_) => Verb::InstallBootloader,
            Self::CollectSystemLogs => Verb::CollectSystemLogs,
            Self::FinalizeRescue { .. } => Verb::FinalizeRescue,
            Self::Lockdown => Verb::Lockdown,
            Self::GetHardwareInfo => Verb::GetHardwareInfo,
            Self::SetNodeInfo { .. } => Verb::SetNodeInfo,
            Self::StartFlow { .. } => Verb::StartFlow,
        }
    }
}

/// A text answer travels as an object: `{"result": "<text>"}`, and the answer of a
/// background verb names the verb in it: `{"result": "prepare_image: <text>"}`.
#[must_use]
pub fn wrap(verb: Verb, answer: Value) -> Value {
    match answer {
        Value::String(text) => {
            let text = if verb.background() {
                format!("{}: {text}", verb.bare_name())
            } else {
                text
            };
            Value::Object(Object::from_iter([("result".to_owned(), text.into())]))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn wrong_calls_read_like_pythons() {
        let cases = [
            (
                Verb::ExecuteStep(Phase::Clean),
                Misuse::Missing(vec!["step"]),
                "CleanExtension.execute_clean_step() missing 1 required positional argument: 'step'",
            ),
            (
                Verb::ExecuteStep(Phase::Deploy),
                Misuse::Missing(vec!["step", "node"]),
                "DeployExtension.execute_deploy_step() missing 2 required positional arguments: 'step' and 'node'",
            ),
            (
                Verb::GetSteps(Phase::Service),
                Misuse::Missing(vec!["a", "b", "c"]),
                "ServiceExtension.get_service_steps() missing 3 required positional arguments: 'a', 'b', and 'c'",
            ),
            (
                Verb::InstallBootloader,
                Misuse::Unexpected("x".to_owned()),
                "ImageExtension.install_bootloader() got an unexpected keyword argument 'x'",
            ),
        ];
        for (verb, misuse, text) in cases {
            let failure = misuse.failure(verb);
            assert_eq!(failure.kind, FailureKind::CommandExecution);
            assert_eq!(failure.details, text);
        }
    }

    #[test]
    fn text_answers_are_wrapped() {
        let cases = [
            (Verb::Sync, json!("hello"), json!({"result": "hello"})),
            (
                Verb::PrepareImage,
                json!("done"),
                json!({"result": "prepare_image: done"}),
            ),
            (Verb::PrepareImage, json!(null), json!(null)),
            (Verb::GetHardwareInfo, json!({"a": 1}), json!({"a": 1})),
            (Verb::Sync, json!(["x"]), json!(["x"])),
        ];
        for (verb, answer, wrapped) in cases {
            assert_eq!(wrap(verb, answer), wrapped);
        }
    }
}

//! The one place where an order is made: arguments and files in, a `Command` of the protocol out.

use std::fs;
use std::path::PathBuf;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb;
use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::OrderError;
use super::document::read_object;
use crate::arguments::{
    BootModeArgument, EraseArguments, EraseKind, ImageFormatArgument, OrderArguments, PowerChange,
    RaidArguments, RunArguments, StepPhaseArgument, WriteArguments,
};
use crate::output::message::from_json;
use crate::targets::NodeRef;

/// A step, before it is known for which node.
#[derive(Debug, Clone)]
struct StepTemplate {
    phase: v1::StepPhase,
    interface: String,
    name: String,
    arguments: JsonObject,
    /// What the step sees of the node, besides its UUID and name.
    document: JsonObject,
}

/// An order whose files are read: it can be made for any node.
#[derive(Debug, Clone)]
pub(crate) struct PreparedOrder {
    content: OrderContent,
    asks_first: bool,
}

#[derive(Debug, Clone)]
enum OrderContent {
    /// The same for every node.
    Command(Box<v1::Command>),
    Step(Box<StepTemplate>),
}

impl PreparedOrder {
    /// Reads what the arguments name.
    ///
    /// # Errors
    /// A file or an argument makes no sense.
    pub(crate) fn new(order: &OrderArguments) -> Result<Self, OrderError> {
        let content = match order {
            OrderArguments::Erase(order) => erase(order),
            OrderArguments::Write(order) => write(order)?,
            OrderArguments::Raid(order) => raid(order)?,
            OrderArguments::Run(order) => run(order)?,
            OrderArguments::Power(order) => verb(match order.change {
                PowerChange::Off => Verb::PowerOff(v1::PowerOffCommand {}),
                PowerChange::Reboot => Verb::RunImage(v1::RunImageCommand { kexec: false }),
                PowerChange::Kexec => Verb::RunImage(v1::RunImageCommand { kexec: true }),
            }),
        };
        let asks_first = match &content {
            OrderContent::Command(command) => !is_harmless(command),
            OrderContent::Step(_) => true,
        };
        Ok(Self {
            content,
            asks_first,
        })
    }

    /// Lists the steps of a phase.
    pub(crate) fn steps(
        phase: StepPhaseArgument,
        node: &NodeRef,
    ) -> Result<v1::Command, OrderError> {
        let document = node_document(JsonObject::new(), node);
        let steps = v1::GetStepsCommand {
            phase: step_phase(phase).into(),
            node: Some(ironic_document::to_struct(document, "node")?),
            ports: Vec::new(),
        };
        Ok(command(Verb::GetSteps(steps)))
    }

    /// Whether it destroys data, or ends what runs.
    pub(crate) fn asks_first(&self) -> bool {
        self.asks_first
    }

    /// The command for a node.
    ///
    /// # Errors
    /// A document holds what the protocol cannot carry.
    pub(crate) fn command(&self, node: &NodeRef) -> Result<v1::Command, OrderError> {
        let template = match &self.content {
            OrderContent::Command(command) => return Ok((**command).clone()),
            OrderContent::Step(template) => (**template).clone(),
        };
        let step = json!({
            "interface": template.interface,
            "step": template.name,
            "args": template.arguments,
        });
        let Value::Object(step) = step else {
            return Err(OrderError::Step(template.name));
        };
        let document = node_document(template.document, node);
        let step = v1::ExecuteStepCommand {
            phase: template.phase.into(),
            step: Some(ironic_document::to_struct(step, "step")?),
            node: Some(ironic_document::to_struct(document, "node")?),
            ..v1::ExecuteStepCommand::default()
        };
        Ok(command(Verb::ExecuteStep(step)))
    }
}

/// What a step sees of a node.
fn node_document(mut document: JsonObject, node: &NodeRef) -> JsonObject {
    document.insert("uuid".to_owned(), Value::from(node.uuid.as_str()));
    let name = Value::from(node.name.as_str());
    document.entry("name").or_insert(name);
    document
}

fn command(verb: Verb) -> v1::Command {
    v1::Command {
        verb: Some(verb),
        ..v1::Command::default()
    }
}

fn verb(verb: Verb) -> OrderContent {
    OrderContent::Command(Box::new(command(verb)))
}

/// Whether a command neither changes the machine nor ends its agent.
fn is_harmless(command: &v1::Command) -> bool {
    matches!(
        command.verb,
        Some(
            Verb::GetSteps(_)
                | Verb::Sync(_)
                | Verb::GetPartitionUuids(_)
                | Verb::CollectSystemLogs(_)
                | Verb::GetHardwareInfo(_)
        )
    )
}

fn erase(order: &EraseArguments) -> OrderContent {
    let scope = match order.method {
        EraseKind::Data => v1::EraseScope::Data,
        EraseKind::Metadata => v1::EraseScope::Metadata,
        EraseKind::Express => v1::EraseScope::Express,
    };
    let policy = v1::ErasePolicy {
        scope: scope.into(),
        concurrency: order.concurrency,
        sanitize: order.sanitize,
        skip_read_only: order.skip_read_only,
        ..v1::ErasePolicy::default()
    };
    let disks = order.disk.iter().map(|disk| v1::DiskErase {
        disk: Some(disk.clone()),
        policy: Some(policy),
    });
    let disks: Vec<_> = disks.collect();
    verb(Verb::Erase(v1::EraseCommand {
        policy: disks.is_empty().then_some(policy),
        disks,
    }))
}

fn write(order: &WriteArguments) -> Result<OrderContent, OrderError> {
    let is_in_registry = |url: &String| {
        let scheme = url.get(..6);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("oci://"))
    };
    let digest = digest(order);
    if digest.is_none() && !order.image.iter().any(is_in_registry) {
        return Err(OrderError::NoDigest);
    }
    let format = match order.format {
        None => v1::ImageFormat::Unspecified,
        Some(ImageFormatArgument::Raw) => v1::ImageFormat::Raw,
        Some(ImageFormatArgument::Qcow2) => v1::ImageFormat::Qcow2,
    };
    let boot_mode = match order.boot_mode {
        None => v1::FirmwareMode::Unspecified,
        Some(BootModeArgument::Uefi) => v1::FirmwareMode::Uefi,
        Some(BootModeArgument::Bios) => v1::FirmwareMode::Bios,
    };
    let config_drive = order.config_drive.as_deref().map(config_drive);
    Ok(verb(Verb::WriteImage(v1::WriteImageCommand {
        image: Some(v1::Image {
            urls: order.image.clone(),
            digest,
            format: format.into(),
            credentials: credentials(order)?,
            ..v1::Image::default()
        }),
        target: order.disk.clone(),
        config_drive: config_drive.transpose()?,
        partitions: None,
        boot_mode: boot_mode.into(),
    })))
}

fn digest(order: &WriteArguments) -> Option<v1::ImageDigest> {
    let (algorithm, given) = [
        (v1::DigestAlgorithm::Sha256, &order.sha256),
        (v1::DigestAlgorithm::Sha384, &order.sha384),
        (v1::DigestAlgorithm::Sha512, &order.sha512),
    ]
    .into_iter()
    .find_map(|(algorithm, given)| Some((algorithm, given.clone()?)))?;
    let (value, list_url) = if given.contains("://") {
        (String::new(), given)
    } else {
        (given, String::new())
    };
    Some(v1::ImageDigest {
        algorithm: algorithm.into(),
        value,
        list_url,
    })
}

fn credentials(order: &WriteArguments) -> Result<Option<v1::ImageCredentials>, OrderError> {
    let first_line = |path: &PathBuf| match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().next().unwrap_or_default().to_owned()),
        Err(source) => Err(OrderError::Credentials {
            path: path.clone(),
            source,
        }),
    };
    let mut credentials = v1::ImageCredentials::default();
    if let Some(path) = &order.image_authorization_file {
        credentials.authorization = first_line(path)?;
        return Ok(Some(credentials));
    }
    let Some(path) = &order.image_password_file else {
        return Ok(None);
    };
    credentials.user = order.image_user.clone().unwrap_or_default();
    credentials.password = first_line(path)?;
    Ok(Some(credentials))
}

/// A config drive: where it is, or what is in a file.
fn config_drive(value: &str) -> Result<v1::ConfigDrive, OrderError> {
    let mut drive = v1::ConfigDrive::default();
    if value.contains("://") {
        value.clone_into(&mut drive.url);
        return Ok(drive);
    }
    let content = fs::read(value).map_err(|source| OrderError::ConfigDrive {
        path: PathBuf::from(value),
        source,
    })?;
    drive.content = content;
    Ok(drive)
}

fn raid(order: &RaidArguments) -> Result<OrderContent, OrderError> {
    let mut command = v1::RaidCommand::default();
    if let Some(layout) = &order.layout {
        command = from_json(read_object(layout)?.into()).map_err(OrderError::Layout)?;
        // To the agent a layout without arrays is the order to remove them all.
        if command.volumes.is_empty() {
            return Err(OrderError::NoVolumes(layout.clone()));
        }
    }
    command.keep_existing |= order.keep_existing;
    Ok(verb(Verb::Raid(command)))
}

fn run(order: &RunArguments) -> Result<OrderContent, OrderError> {
    if let Some(named) = &order.step {
        let parts = named.split_once('.');
        let parts = parts.filter(|(interface, name)| !interface.is_empty() && !name.is_empty());
        let (interface, name) = parts.ok_or_else(|| OrderError::Step(named.clone()))?;
        let document = order
            .node_document
            .as_deref()
            .map(read_object)
            .transpose()?;
        return Ok(OrderContent::Step(Box::new(StepTemplate {
            phase: step_phase(order.phase),
            interface: interface.to_owned(),
            name: name.to_owned(),
            arguments: step_arguments(&order.arguments)?,
            document: document.unwrap_or_default(),
        })));
    }
    let value = match (&order.command, &order.file) {
        (Some(text), _) => serde_json::from_str(text).map_err(OrderError::Json)?,
        (None, Some(path)) => read_object(path)?.into(),
        (None, None) => Value::Null,
    };
    let command = from_json::<v1::Command>(value).map_err(OrderError::Command)?;
    Ok(OrderContent::Command(Box::new(command)))
}

fn step_arguments(pairs: &[String]) -> Result<JsonObject, OrderError> {
    let arguments = pairs.iter().map(|pair| {
        let parts = pair.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = parts.ok_or_else(|| OrderError::Argument(pair.clone()))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok((key.to_owned(), value))
    });
    arguments.collect()
}

fn step_phase(phase: StepPhaseArgument) -> v1::StepPhase {
    match phase {
        StepPhaseArgument::Clean => v1::StepPhase::Clean,
        StepPhaseArgument::Deploy => v1::StepPhase::Deploy,
        StepPhaseArgument::Service => v1::StepPhase::Service,
    }
}

#[cfg(test)]
mod tests;

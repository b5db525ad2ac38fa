//! The one place where an order is made: arguments and files in, a `Command` of the protocol out.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb;
use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::OrderError;
use super::document::read_object;
use crate::arguments::{
    EraseKind, EraseOrder, OrderArguments, PowerChange, RaidOrder, RunOrder, StepPhaseArgument,
    WriteOrder,
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
                PowerChange::Reboot => Verb::RunImage(v1::RunImageCommand::default()),
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

fn step(phase: v1::StepPhase, interface: &str, name: &str, arguments: JsonObject) -> OrderContent {
    OrderContent::Step(Box::new(StepTemplate {
        phase,
        interface: interface.to_owned(),
        name: name.to_owned(),
        arguments,
        document: JsonObject::new(),
    }))
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

fn erase(order: &EraseOrder) -> OrderContent {
    let name = match order.method {
        EraseKind::Data => "erase_devices",
        EraseKind::Metadata => "erase_devices_metadata",
        EraseKind::Express => "erase_devices_express",
    };
    step(v1::StepPhase::Clean, "deploy", name, JsonObject::new())
}

fn write(order: &WriteOrder) -> Result<OrderContent, OrderError> {
    let mut info = JsonObject::new();
    let mut set = |key: &str, value: Value| info.insert(key.to_owned(), value);
    let digests = [("sha256", &order.sha256), ("sha512", &order.sha512)];
    for (algorithm, digest) in digests {
        if let Some(digest) = digest {
            set("os_hash_algo", algorithm.into());
            set("os_hash_value", digest.as_str().into());
        }
    }
    if let Some(checksum) = &order.checksum {
        set("checksum", checksum.as_str().into());
    }
    if let Some(format) = &order.disk_format {
        set("disk_format", format.as_str().into());
    }
    let is_in_registry = |url: &String| {
        let scheme = url.get(..6);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("oci://"))
    };
    let has_digest = order.sha256.is_some() || order.sha512.is_some() || order.checksum.is_some();
    if !has_digest && !order.image.iter().any(is_in_registry) {
        return Err(OrderError::NoDigest);
    }
    let id = order.image.first().map_or("", |url| file_name(url));
    set("id", id.into());
    set("urls", order.image.clone().into());
    let configdrive = order
        .config_drive
        .as_deref()
        .map(config_drive)
        .transpose()?;
    Ok(verb(Verb::PrepareImage(v1::PrepareImageCommand {
        image_info: Some(ironic_document::to_struct(info, "image_info")?),
        configdrive,
    })))
}

/// The last part of a URL's path, which names the image in messages.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    match path.trim_end_matches('/').rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => url,
    }
}

/// A config drive as the protocol has it: a URL, or base64 of a file packed by gzip.
fn config_drive(value: &str) -> Result<String, OrderError> {
    if value.contains("://") {
        return Ok(value.to_owned());
    }
    let unreadable = |source| OrderError::ConfigDrive {
        path: PathBuf::from(value),
        source,
    };
    let bytes = fs::read(value).map_err(unreadable)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(STANDARD.encode(bytes));
    }
    let mut packed = Vec::new();
    flate2::bufread::GzEncoder::new(bytes.as_slice(), flate2::Compression::fast())
        .read_to_end(&mut packed)
        .map_err(unreadable)?;
    Ok(STANDARD.encode(packed))
}

fn raid(order: &RaidOrder) -> Result<OrderContent, OrderError> {
    let Some(layout) = &order.layout else {
        let phase = v1::StepPhase::Clean;
        return Ok(step(
            phase,
            "raid",
            "delete_configuration",
            JsonObject::new(),
        ));
    };
    let mut arguments = JsonObject::new();
    arguments.insert("raid_config".to_owned(), read_object(layout)?.into());
    arguments.insert("delete_existing".to_owned(), (!order.keep_existing).into());
    let phase = v1::StepPhase::Deploy;
    Ok(step(phase, "raid", "apply_configuration", arguments))
}

fn run(order: &RunOrder) -> Result<OrderContent, OrderError> {
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

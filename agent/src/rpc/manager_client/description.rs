//! What a hardware manager's program says of itself, checked.

use std::time::Duration;

use ironic_agent_protocol::v1;
use thiserror::Error;

use super::{MAX_NAME_LENGTH, MAX_STEPS, beginning, word};
use crate::hardware::external::{ERASER, ExternalStepDescription, ManagerDescription};
use crate::hardware::{
    Argument, ArgumentKind, Description, ManagerIdentity, Offer, StepPhase, Support,
};
use crate::rpc::convert::duration;

/// What a step may take when its manager does not say.
pub(super) const DEFAULT_DEADLINE: Duration = Duration::from_secs(3600);

/// What a description has wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum InvalidDescription {
    #[error("it has more than {MAX_STEPS} steps")]
    TooManySteps,
    #[error("it has two steps of the name {0}")]
    StepTwice(String),
    #[error("step {0}: an offer without a phase")]
    OfferWithoutPhase(String),
    #[error("step {step}: two offers for phase {phase}")]
    OfferTwice { step: String, phase: &'static str },
    #[error("step {0} is asked for disk by disk, as part of erase_devices: it must have no offers")]
    EraserOffered(String),
    #[error("step {0}: 'deadline' must be longer than nothing")]
    Deadline(String),
    /// Python and Ironic use the name as an identifier.
    #[error("'{field}' must be letters, digits and underscores, not {text:?}")]
    Identifier { field: &'static str, text: String },
}

/// Reads a description.
pub(super) fn described(
    message: v1::DescribeResponse,
) -> Result<ManagerDescription, InvalidDescription> {
    let class = identifier("class_name", &message.class_name)?;
    let name = match message.name.as_str() {
        "" => class.clone(),
        name => identifier("name", name)?,
    };
    let version = match message.version.as_str() {
        "" => "1.0".to_owned(),
        version => word(version),
    };
    let support = match message.support {
        0 => Support::None,
        1 => Support::Generic,
        2 => Support::Mainline,
        higher => Support::ServiceProvider(higher),
    };
    if message.steps.len() > MAX_STEPS {
        return Err(InvalidDescription::TooManySteps);
    }
    let mut steps: Vec<ExternalStepDescription> = Vec::new();
    for message in message.steps {
        let step = step(message)?;
        let name = &step.description.name;
        if steps.iter().any(|other| other.description.name == *name) {
            return Err(InvalidDescription::StepTwice(name.to_string()));
        }
        steps.push(step);
    }
    Ok(ManagerDescription {
        identity: ManagerIdentity {
            class: class.into(),
            name: name.into(),
            version: version.into(),
        },
        support,
        steps,
    })
}

fn step(message: v1::StepDescription) -> Result<ExternalStepDescription, InvalidDescription> {
    let name = identifier("steps.name", &message.name)?;
    let offers = offers(&name, &message.offers)?;
    let deadline = match message.deadline.map(duration) {
        None => DEFAULT_DEADLINE,
        Some(Some(deadline)) if !deadline.is_zero() => deadline,
        Some(_) => return Err(InvalidDescription::Deadline(name)),
    };
    let interface = match message.interface.as_str() {
        "" => "deploy".to_owned(),
        interface => identifier("steps.interface", interface)?,
    };
    let arguments = message.arguments.into_iter().map(argument);
    Ok(ExternalStepDescription {
        description: Description {
            arguments: arguments.collect::<Result<Vec<_>, _>>()?.into(),
            name: name.into(),
            interface: interface.into(),
            reboot_requested: message.reboot_requested,
        },
        offers,
        deadline,
    })
}

fn offers(
    step: &str,
    messages: &[v1::StepOffer],
) -> Result<Vec<(StepPhase, Offer)>, InvalidDescription> {
    if step == ERASER && !messages.is_empty() {
        return Err(InvalidDescription::EraserOffered(step.to_owned()));
    }
    let mut offers: Vec<(StepPhase, Offer)> = Vec::new();
    for message in messages {
        let phase = match message.phase() {
            v1::StepPhase::Clean => StepPhase::Clean,
            v1::StepPhase::Deploy => StepPhase::Deploy,
            v1::StepPhase::Service => StepPhase::Service,
            v1::StepPhase::Unspecified => {
                return Err(InvalidDescription::OfferWithoutPhase(step.to_owned()));
            }
        };
        if offers.iter().any(|(other, _)| *other == phase) {
            return Err(InvalidDescription::OfferTwice {
                step: step.to_owned(),
                phase: phase.word(),
            });
        }
        let offer = Offer {
            priority: message.priority,
            abortable: message.abortable,
        };
        offers.push((phase, offer));
    }
    Ok(offers)
}

fn argument(message: v1::StepArgument) -> Result<Argument, InvalidDescription> {
    Ok(Argument {
        name: identifier("steps.arguments.name", &message.name)?.into(),
        required: message.required,
        kind: match message.kind() {
            v1::ArgumentKind::Unspecified => ArgumentKind::Any,
            v1::ArgumentKind::Text => ArgumentKind::Text,
            v1::ArgumentKind::Flag => ArgumentKind::Flag,
            v1::ArgumentKind::List => ArgumentKind::List,
            v1::ArgumentKind::Object => ArgumentKind::Object,
        },
        description: beginning(message.description).into(),
        advertised: true,
    })
}

/// A name as Python allows it: Ironic and its operators use them as such.
fn identifier(field: &'static str, text: &str) -> Result<String, InvalidDescription> {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fine = !text.is_empty()
        && text.len() <= MAX_NAME_LENGTH
        && text.chars().all(letters)
        && !text.starts_with(|c: char| c.is_ascii_digit());
    if fine {
        Ok(text.to_owned())
    } else {
        Err(InvalidDescription::Identifier {
            field,
            text: text.to_owned(),
        })
    }
}

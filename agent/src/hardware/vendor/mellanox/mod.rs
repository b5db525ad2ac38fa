//! NVIDIA (Mellanox) network cards: firmware images and firmware settings, by the vendor's
//! tools. How their InfiniBand ports are addressed is known to `machine::network::interface`.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use crate::config::AgentConfig;
use crate::hardware::{
    Argument, ArgumentKind, Description, HardwareManager, ManagerIdentity, Offer, PlanFuture,
    PlannedAction, RunFuture, Step, StepContext, StepPhase, Support,
};
use crate::system::System;

mod card;
pub mod error;
mod image;
mod setting;

/// Vendor number on PCI.
const VENDOR: &str = "0x15b3";

/// What machines with such cards can do more.
#[derive(Debug, Clone, Copy, Default)]
pub struct MellanoxManager;

static IDENTITY: ManagerIdentity = ManagerIdentity {
    class: Cow::Borrowed("MellanoxDeviceHardwareManager"),
    name: Cow::Borrowed("MellanoxDeviceHardwareManager"),
    version: Cow::Borrowed("1"),
};

const STEPS: &[&dyn Step] = &[&IMAGES, &SETTINGS];

impl HardwareManager for MellanoxManager {
    fn identity(&self) -> &ManagerIdentity {
        &IDENTITY
    }

    fn support(&self, system: &System) -> Support {
        let root = &system.root;
        let is_ours = |name: &String| {
            let vendor = root.read_optional(format!("/sys/class/net/{name}/device/vendor"));
            vendor.is_some_and(|vendor| vendor.trim() == VENDOR)
        };
        if root.names("/sys/class/net").iter().any(is_ours) {
            Support::Mainline
        } else {
            Support::None
        }
    }

    fn steps(&self) -> Vec<&dyn Step> {
        STEPS.to_vec()
    }
}

/// One of the steps.
#[derive(Debug)]
struct FirmwareStep {
    description: Description,
    task: FirmwareTask,
}

#[derive(Debug, Clone, Copy)]
enum FirmwareTask {
    Images,
    Settings,
}

/// The step with its one argument.
macro_rules! firmware {
    ($task:ident, $name:literal, $argument:literal, $sentence:literal) => {
        FirmwareStep {
            description: Description {
                name: Cow::Borrowed($name),
                interface: Cow::Borrowed("deploy"),
                reboot_requested: true,
                arguments: Cow::Borrowed(&[Argument {
                    name: Cow::Borrowed($argument),
                    description: Cow::Borrowed($sentence),
                    required: true,
                    kind: ArgumentKind::Any,
                    advertised: true,
                }]),
            },
            task: FirmwareTask::$task,
        }
    };
}

static IMAGES: FirmwareStep = firmware!(
    Images,
    "update_nvidia_nic_firmware_image",
    "images",
    "A list of images, each with url (file, http, https), checksum, checksumType (sha256, \
     sha512, or md5 where md5_enabled allows it), componentFlavor (the card's PSID) and version."
);

static SETTINGS: FirmwareStep = firmware!(
    Settings,
    "update_nvidia_nic_firmware_settings",
    "settings",
    "A list of settings, each with deviceID and any of globalConfig, function0Config and \
     function1Config: parameters and their values."
);

impl Step for FirmwareStep {
    fn description(&self) -> &Description {
        &self.description
    }

    fn offer(&self, _phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        Some(Offer {
            priority: 0,
            abortable: Some(false),
        })
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let lines = match self.task {
                FirmwareTask::Images => image::parse(&arguments["images"], ctx.config.md5_enabled)?
                    .iter()
                    .map(|image| {
                        format!("Bring cards {} to firmware {}", image.psid, image.version)
                    })
                    .collect::<Vec<_>>(),
                FirmwareTask::Settings => setting::parse(&arguments["settings"])?
                    .iter()
                    .map(|setting| format!("Check and set the parameters of cards {}", setting.id))
                    .collect(),
            };
            Ok(lines
                .into_iter()
                .map(|description| PlannedAction {
                    description,
                    ..PlannedAction::default()
                })
                .collect())
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            match self.task {
                FirmwareTask::Images => {
                    let images = image::parse(&arguments["images"], ctx.config.md5_enabled)?;
                    let cards = card::discover(ctx.system).await?;
                    image::apply(ctx, &cards, &images).await?;
                }
                FirmwareTask::Settings => {
                    let settings = setting::parse(&arguments["settings"])?;
                    let cards = card::discover(ctx.system).await?;
                    setting::apply(ctx.system, &cards, &settings).await?;
                }
            }
            Ok(Value::Null)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;

//! Step `clean_uefi_nvram`: the firmware forgets the boot entries of systems that are gone.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use super::error::InvalidMatchPatterns;
use crate::config::AgentConfig;
use crate::disk::boot::entry::{self, BootEntry};
use crate::hardware::{
    Argument, ArgumentKind, Description, Offer, PlanFuture, PlannedAction, RunFuture, Step,
    StepContext, StepError, StepPhase,
};
use crate::system::{Cmd, System};
use pattern::Pattern;

pub mod pattern;

/// The step.
#[derive(Debug)]
pub(super) struct CleanUefiNvram;

/// Entries of disks, and the loaders of Linux systems wherever they are.
const DEFAULT: [&str; 3] = [r"^HD\(", r"shim.*\.efi", r"grub.*\.efi"];

static DESCRIPTION: Description = Description {
    name: Cow::Borrowed("clean_uefi_nvram"),
    interface: Cow::Borrowed("deploy"),
    reboot_requested: false,
    arguments: Cow::Borrowed(&[Argument {
        name: Cow::Borrowed("match_patterns"),
        description: Cow::Borrowed(
            "List of regular expressions; a boot entry goes when one of them is found in its \
             device path, in upper or lower case. The default is \
             [\"^HD\\\\(\", \"shim.*\\\\.efi\", \"grub.*\\\\.efi\"].",
        ),
        required: false,
        kind: ArgumentKind::Any,
        advertised: true,
    }]),
};

impl Step for CleanUefiNvram {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        match phase {
            StepPhase::Clean => Some(Offer::abortable_at(0)),
            StepPhase::Deploy => Some(Offer::at(0)),
            StepPhase::Service => None,
        }
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let entries = find(ctx.system, arguments).await?;
            let actions = entries.into_iter().map(|entry| PlannedAction {
                description: format!("Remove boot entry {} ({})", entry.number, entry.label),
                destructive: true,
                ..PlannedAction::default()
            });
            Ok(actions.collect())
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            for entry in find(ctx.system, arguments).await? {
                ctx.task.check()?;
                tracing::info!(entry = %entry.number, label = %entry.label, "removing");
                let remove = Cmd::new("efibootmgr").args(["-b", entry.number.as_str(), "-B"]);
                ctx.system.run.run(remove).await?;
                let text = format!("boot entry {} ({}) removed", entry.number, entry.label);
                ctx.task.phase_ended(text);
            }
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// The entries that go.
async fn find(system: &System, arguments: &JsonObject) -> Result<Vec<BootEntry>, StepError> {
    let patterns = patterns(arguments)?;
    let listing = system.run.run(Cmd::new("efibootmgr").arg("-v")).await?;
    let mut found = Vec::new();
    for entry in entry::parse(&listing.stdout) {
        for pattern in &patterns {
            if pattern
                .is_in(&entry.path)
                .map_err(InvalidMatchPatterns::from)?
            {
                found.push(entry);
                break;
            }
        }
    }
    Ok(found)
}

/// Only null stands for the default: an empty list finds nothing.
fn patterns(arguments: &JsonObject) -> Result<Vec<Pattern>, InvalidMatchPatterns> {
    let given = arguments
        .get("match_patterns")
        .filter(|value| !value.is_null());
    let texts: Vec<&str> = match given {
        None => DEFAULT.to_vec(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| not_strings(item)))
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(not_strings(other)),
    };
    let built = texts.into_iter().map(|text| Ok(Pattern::new(text)?));
    built.collect()
}

fn not_strings(found: &Value) -> InvalidMatchPatterns {
    InvalidMatchPatterns::NotStrings(found.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hardware::generic::testing::Bench;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::Script;

    const ENTRIES: &str = "BootCurrent: 0001\n\
        Boot0000* Fedora\tHD(1,GPT,34178504-2340-4fe0-8001-264372cf9b2d)/File(\\EFI\\x.efi)\n\
        Boot0001* Remote\tPciRoot(0x0)/Pci(0x1,0x0)/File(\\EFI\\SHIMX64.EFI)\n\
        Boot0002* Stick\tUsbClass(ffff,ffff,255,255)\n\
        Boot0003* NIC\tPciRoot(0x0)/Pci(0x1c,0x0)/MAC(0)/HD(0)\n";

    #[tokio::test]
    async fn entries_of_disks_and_loaders_go() {
        let script = || Script::new().expect("efibootmgr -v", ENTRIES);
        let bench = Bench::new(FakeMachine::new());
        let plan = bench.plan(&CleanUefiNvram, script()).await.unwrap();
        let plan: Vec<_> = plan
            .iter()
            .map(|action| action.description.as_str())
            .collect();
        let expected = [
            "Remove boot entry 0000 (Fedora)",
            "Remove boot entry 0001 (Remote)",
        ];
        assert_eq!(plan, expected);
        let script = script()
            .expect("efibootmgr -b 0000 -B", "")
            .expect("efibootmgr -b 0001 -B", "");
        let (result, _) = bench.run(&CleanUefiNvram, script).await;
        assert_eq!(result.unwrap(), Value::Null);
    }

    #[tokio::test]
    async fn operators_patterns_are_searched_without_regard_to_case() {
        for (patterns, removed) in [
            (json!(["usbclass"]), vec!["0002"]),
            (json!(["mac\\(.*HD", "^usb"]), vec!["0002", "0003"]),
            // Look-around and references, as Python's expressions have them.
            (
                json!(["^HD\\((?!1,)", r"(?<=EFI\\)shim", r"(f)\1{3}"]),
                vec!["0001", "0002"],
            ),
            (json!([]), vec![]),
            (json!(null), vec!["0000", "0001"]),
        ] {
            let script = removed.iter().fold(
                Script::new().expect("efibootmgr -v", ENTRIES),
                |script, number| script.expect(&format!("efibootmgr -b {number} -B"), ""),
            );
            let bench = Bench::new(FakeMachine::new());
            let bench = bench.arguments(json!({"match_patterns": patterns}));
            let (result, _) = bench.run(&CleanUefiNvram, script).await;
            assert_eq!(result.unwrap(), Value::Null);
        }
    }

    #[tokio::test]
    async fn wrong_patterns_are_named_and_nothing_is_run() {
        for patterns in [json!("VenHw"), json!([true]), json!([")oo("]), json!({})] {
            let bench = Bench::new(FakeMachine::new());
            let bench = bench.arguments(json!({"match_patterns": patterns}));
            let (result, _) = bench.run(&CleanUefiNvram, Script::new()).await;
            let error = result.unwrap_err();
            assert!(matches!(error, StepError::MatchPatterns(_)), "{error:?}");
            let start = "The match_patterns must be a list of strings: ";
            assert!(error.to_string().starts_with(start), "{error}");
        }
    }
}

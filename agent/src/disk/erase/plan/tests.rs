use serde_json::{Value, json};

use super::super::ata::tests::{READY, identity};
use super::*;
use crate::machine::ironic_node::Node;
use crate::system::RunError;

fn node(plan: Value) -> Node {
    let document = json!({"driver_info": {"agent_erase_plan": plan}});
    Node(document.as_object().unwrap().clone())
}

fn options() -> EraseOptions {
    Node::default().erase_options()
}

fn forgiving() -> EraseOptions {
    EraseOptions {
        continue_if_secure_erase_failed: true,
        ..options()
    }
}

fn nvme(text: &str) -> Facts {
    Facts {
        size: 1 << 30,
        nvme: Some(Ok(NvmeController::parse(text).unwrap())),
        ..Facts::default()
    }
}

fn ata(lines: &[&str]) -> Facts {
    Facts {
        size: 1 << 30,
        ata: Some(Security::parse(&identity(lines))),
        ..Facts::default()
    }
}

fn ways(
    facts: &Facts,
    options: &EraseOptions,
    overrides: &EraseOverrides,
) -> Result<Vec<String>, Unerasable> {
    let plan = ErasePlan::new(facts, options, overrides)?;
    Ok(plan.methods.iter().map(EraseMethod::describe).collect())
}

const OVERWRITE: &str = "overwriting (1 random passes and one of zeros)";

#[test]
fn the_drive_decides_unless_it_may_not() {
    let sanitizing = EraseOverrides {
        sanitize: true,
        ..EraseOverrides::default()
    };
    let no_secure_erase = EraseOptions {
        ata_secure_erase: false,
        nvme_secure_erase: false,
        ..options()
    };
    let crypto = nvme(r#"{"oacs":23,"fna":4,"sanicap":2}"#);
    let several = Facts {
        siblings: vec!["/dev/nvme0n2".into()],
        ..crypto.clone()
    };
    let scsi = Facts {
        scsi: Some(Sanitize::Block),
        ..Facts::default()
    };
    let plain = [
        "supported",
        "not enabled",
        "not locked",
        "not frozen",
        "not supported: enhanced erase",
    ];
    let format = "NVMe format (cryptographic erase)";
    let user_data = "NVMe format (user data erase)";
    let wish = EraseOverrides::default();
    for (facts, options, wish, expected) in [
        (Facts::default(), options(), wish, vec![OVERWRITE]),
        (Facts::default(), forgiving(), wish, vec![OVERWRITE]),
        (
            ata(&READY),
            options(),
            wish,
            vec!["ATA secure erase (enhanced)"],
        ),
        (ata(&plain), options(), wish, vec!["ATA secure erase"]),
        (
            ata(&plain),
            forgiving(),
            wish,
            vec!["ATA secure erase", OVERWRITE],
        ),
        (ata(&READY), no_secure_erase, wish, vec![OVERWRITE]),
        (crypto.clone(), options(), wish, vec![format]),
        (crypto.clone(), no_secure_erase, wish, vec![OVERWRITE]),
        (
            nvme(r#"{"oacs":23,"fna":0}"#),
            options(),
            wish,
            vec![user_data],
        ),
        (
            crypto,
            options(),
            sanitizing,
            vec!["NVMe sanitize (block erase)"],
        ),
        (several, options(), sanitizing, vec![format]),
        (
            nvme(r#"{"oacs":2,"fna":0}"#),
            options(),
            sanitizing,
            vec![user_data],
        ),
        (
            scsi.clone(),
            options(),
            sanitizing,
            vec!["SCSI sanitize (block erase)"],
        ),
        (scsi, options(), wish, vec![OVERWRITE]),
    ] {
        let found = ways(&facts, &options, &wish);
        assert_eq!(found.unwrap(), expected, "{facts:?} {options:?} {wish:?}");
    }
}

#[test]
fn what_cannot_be_erased_properly_is_refused_or_overwritten() {
    let frozen = ata(&["supported", "not enabled", "not locked", "frozen"]);
    let unsupported = nvme(r#"{"oacs":0,"fna":4}"#);
    let missing = RunError::Missing {
        program: "nvme".into(),
    };
    let unknown = Facts {
        nvme: Some(Err(Arc::new(missing.into()))),
        ..Facts::default()
    };
    let shared = Facts {
        siblings: vec!["/dev/nvme0n2".into()],
        bystanders: vec!["/dev/nvme0n2".into()],
        ..nvme(r#"{"oacs":2,"fna":2}"#)
    };
    for (facts, text) in [
        (frozen, "froze the security state"),
        (unsupported, "does not support the format command"),
        (unknown, "nvme is not installed"),
        (shared, "/dev/nvme0n2 must not be erased"),
    ] {
        let reason = ways(&facts, &options(), &EraseOverrides::default());
        let reason = reason.unwrap_err().to_string();
        assert!(reason.contains(text), "{reason}");
        assert!(reason.contains("continue_if_disk_secure_erase_fails"));
        let plan = ErasePlan::new(&facts, &forgiving(), &EraseOverrides::default()).unwrap();
        assert_eq!(
            plan.describe(0),
            format!("by {OVERWRITE}, given up after 60 min; {}", plan.notes[0])
        );
        assert!(plan.notes[0].contains(text));
    }
}

#[test]
fn an_override_that_cannot_be_followed_is_noted() {
    let sanitizing = EraseOverrides {
        sanitize: true,
        ..EraseOverrides::default()
    };
    let text = "no way is known to sanitize it";
    for facts in [Facts::default(), ata(&READY)] {
        let notes = |wish: &EraseOverrides| ErasePlan::new(&facts, &options(), wish).unwrap().notes;
        assert_eq!(notes(&sanitizing), [text]);
        assert!(notes(&EraseOverrides::default()).is_empty());
    }
}

#[test]
fn overrides_are_checked() {
    let wish = EraseOverrides::of(&node(
        json!({"sanitize": "yes", "deadline_minutes": 90, "stall_minutes": 5}),
    ));
    let expected = EraseOverrides {
        sanitize: true,
        deadline: Some(Duration::from_secs(5400)),
        stall: Some(Duration::from_secs(300)),
    };
    assert_eq!(wish, Ok(expected));
    assert_eq!(
        EraseOverrides::of(&node(Value::Null)),
        Ok(EraseOverrides::default())
    );
    for (plan, text) in [
        (json!(true), "must be an object"),
        (json!({"sanitise": true}), "has no 'sanitise'"),
        (
            json!({"sanitize": "perhaps"}),
            "agent_erase_plan/sanitize must be true or false",
        ),
        (json!({"stall_minutes": 0}), "a number of minutes from 1"),
        (
            json!({"deadline_minutes": "5"}),
            "a number of minutes from 1",
        ),
    ] {
        let error = EraseOverrides::of(&node(plan)).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    let facts = nvme(r#"{"oacs":2,"fna":0}"#);
    let plan = ErasePlan::new(&facts, &options(), &expected).unwrap();
    assert_eq!(
        plan.describe(facts.size),
        "by NVMe format (user data erase), given up after 90 min; the drive has no sanitize: \
         it is formatted instead"
    );
    assert_eq!(plan.stall, Duration::from_secs(300));
}

#[test]
fn deadlines_come_from_the_drive_or_its_size() {
    let hours = |method: &EraseMethod, size| method.deadline(size).as_secs() / 3600;
    let security = |lines: &[&str]| EraseMethod::Ata(Security::parse(&identity(lines)));
    // 26 minutes twice and an hour.
    assert_eq!(security(&READY).deadline(1 << 40).as_secs() / 60, 112);
    assert_eq!(hours(&security(&["supported"]), 4_000_000_000_000), 135);
    let overwrite = EraseMethod::Overwrite {
        iterations: 3,
        zeroize: true,
    };
    assert_eq!(hours(&overwrite, 36_000_000_000), 5);
    assert_eq!(hours(&EraseMethod::Format(Format::UserData), 0), 1);
    assert_eq!(hours(&EraseMethod::SanitizeNvme(Sanitize::Block), 0), 24);
}

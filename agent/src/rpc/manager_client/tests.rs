//! What a stranger's description and failures become.

use super::description::{DEFAULT_DEADLINE, described};
use super::*;
use crate::hardware::{ManagerIdentity, Offer, StepPhase, Support};

fn offer(phase: v1::StepPhase) -> v1::StepOffer {
    v1::StepOffer {
        phase: phase.into(),
        priority: 7,
        abortable: None,
    }
}

fn step_named(name: &str) -> v1::StepDescription {
    v1::StepDescription {
        name: name.to_owned(),
        offers: vec![offer(v1::StepPhase::Deploy)],
        ..Default::default()
    }
}

fn description(steps: Vec<v1::StepDescription>) -> v1::DescribeResponse {
    v1::DescribeResponse {
        class_name: "AcmeManager".to_owned(),
        support: 4,
        steps,
        ..Default::default()
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let described = described(description(vec![step_named("flash")])).unwrap();
    let identity = ManagerIdentity {
        class: "AcmeManager".into(),
        name: "AcmeManager".into(),
        version: "1.0".into(),
    };
    assert_eq!(described.identity, identity);
    assert_eq!(described.support, Support::ServiceProvider(4));
    let step = &described.steps[0];
    assert_eq!(step.description.interface, "deploy");
    assert_eq!(step.deadline, DEFAULT_DEADLINE);
    assert_eq!(step.offers, [(StepPhase::Deploy, Offer::at(7))]);
}

#[test]
fn nonsense_is_refused_by_name() {
    let without_class = v1::DescribeResponse::default();
    let twice = v1::StepDescription {
        offers: vec![offer(v1::StepPhase::Clean), offer(v1::StepPhase::Clean)],
        ..step_named("flash")
    };
    let at_no_time = v1::StepDescription {
        deadline: Some(prost_types::Duration::default()),
        ..step_named("flash")
    };
    let in_no_phase = v1::StepDescription {
        offers: vec![v1::StepOffer::default()],
        ..step_named("flash")
    };
    let nameless = v1::StepDescription {
        arguments: vec![v1::StepArgument::default()],
        ..step_named("flash")
    };
    let cases = [
        (without_class, "'class_name' must be letters"),
        (
            description(vec![step_named("flash all")]),
            "'steps.name' must be letters, digits and underscores, not \"flash all\"",
        ),
        (
            description(vec![step_named("a"), step_named("a")]),
            "it has two steps of the name a",
        ),
        (description(vec![twice]), "two offers for phase clean"),
        (description(vec![at_no_time]), "'deadline' must be longer"),
        (description(vec![in_no_phase]), "an offer without a phase"),
        (
            description(vec![step_named("erase_block_device")]),
            "it must have no offers",
        ),
        (
            description(vec![nameless]),
            "'steps.arguments.name' must be",
        ),
    ];
    for (message, expected) in cases {
        let reason = described(message).unwrap_err().to_string();
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn failures_keep_their_class_if_ironic_knows_it() {
    let failure = |kind: &str| v1::Failure {
        kind: kind.to_owned(),
        message: "in short".to_owned(),
        program: "flasher".to_owned(),
        exit_status: Some(4),
        ..Default::default()
    };
    let known: StepAnswer<()> = failed(failure("CleaningError"));
    let StepAnswer::Failed(known) = known else {
        panic!("{known:?}")
    };
    assert_eq!(
        (
            known.kind.as_str(),
            known.details.as_str(),
            known.program.as_deref()
        ),
        ("CleaningError", "in short", Some("flasher"))
    );
    let own: StepAnswer<()> = failed(failure("CardError"));
    assert!(matches!(own, StepAnswer::Failed(own) if own.kind == "CardError"));
    assert_eq!(
        failed::<()>(failure("IncompatibleHardwareMethodError")),
        StepAnswer::Incompatible("in short".to_owned())
    );
}

#[test]
fn progress_keeps_its_words() {
    let kept = |phase: &str, unit: &str| {
        progress(v1::Progress {
            phase: phase.to_owned(),
            done: 3,
            total: Some(4),
            unit: unit.to_owned(),
            subject: "card 0".to_owned(),
            written: Some(2),
            ..Default::default()
        })
    };
    let expected = |phase: &'static str, unit: &'static str| Progress {
        phase: phase.into(),
        done: 3,
        total: Some(4),
        unit: unit.into(),
        subject: "card 0".to_owned(),
        written: Some(2),
        ..Progress::default()
    };
    assert_eq!(kept("flash", "blocks"), expected("flash", "blocks"));
    assert_eq!(kept("", ""), expected("manager", ""));
    assert_eq!(kept("a\nb\u{1b}[2J", ""), expected("ab[2J", ""));
    assert_eq!(kept(&"x".repeat(999), "").phase.len(), MAX_NAME_LENGTH);
}

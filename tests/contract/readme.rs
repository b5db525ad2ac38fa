//! The README's status table tells the truth.

use std::collections::BTreeMap;

use ironic_agent::config::AgentConfig;
use ironic_agent::hardware::generic::GenericManager;
use ironic_agent::hardware::{HardwareManager, StepPhase};
use ironic_agent_protocol::verbs::VerbDescriptor;

#[test]
fn the_status_table_names_every_command_and_its_state() {
    let readme = include_str!("../../README.md");
    let mut states = BTreeMap::new();
    for line in readme.lines().filter(|line| line.starts_with("| `")) {
        let (names, state) = line.trim_matches('|').split_once('|').unwrap();
        for name in names.split(',') {
            states.insert(
                name.trim().trim_matches('`').to_owned(),
                state.trim().to_owned(),
            );
        }
    }
    for verb in VerbDescriptor::of_ironic() {
        let state = states
            .get(verb.name)
            .unwrap_or_else(|| panic!("{} is missing", verb.name));
        assert!(state.starts_with("works"), "{}: {state}", verb.name);
    }
    assert_eq!(
        states.len(),
        VerbDescriptor::of_ironic().count(),
        "the table names something that does not exist"
    );
}

#[test]
fn every_step_is_named_with_its_phases() {
    let readme = include_str!("../../README.md");
    let (_, list) = readme.split_once("\nSteps, with the phases").unwrap();
    let manager = GenericManager;
    for (phase, title) in [
        (StepPhase::Clean, "\n* clean: "),
        (StepPhase::Deploy, "\n* deploy: "),
        (StepPhase::Service, "\n* service: "),
    ] {
        let (_, listed) = list.split_once(title).unwrap();
        let listed = listed.split_once("\n* ").unwrap().0;
        let listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        let config = AgentConfig::default();
        let steps = manager.steps();
        let offered: Vec<String> = steps
            .iter()
            .filter(|step| step.offer(phase, &config).is_some())
            .map(|step| step.description())
            .map(|step| format!("{}.{}", step.interface, step.name))
            .collect();
        assert_eq!(listed, offered, "{phase:?}");
    }
}

//! The README's status table tells the truth.

use std::collections::BTreeMap;

use ironic_agent::commands::Verb;

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
    for verb in Verb::ALL {
        let state = states
            .get(verb.name())
            .unwrap_or_else(|| panic!("{} is missing", verb.name()));
        assert!(state.starts_with("works"), "{}: {state}", verb.name());
    }
    assert_eq!(
        states.len(),
        Verb::ALL.len(),
        "the table names something that does not exist"
    );
}

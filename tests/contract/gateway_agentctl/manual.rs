//! `docs/agentctl.md` says what the program does.

use clap::Parser as _;
use ironic_agentctl::arguments::AgentctlArguments;
use ironic_agentctl::exit_kind::ExitKind;

const GUIDE: &str = include_str!("../../../docs/agentctl.md");

#[test]
fn the_guide_has_the_exit_codes() {
    let row = |kind: &ExitKind| {
        format!(
            "| {} | `{}` | {} |",
            kind.code(),
            kind.word(),
            kind.meaning()
        )
    };
    for kind in &ExitKind::ALL {
        assert!(GUIDE.contains(&row(kind)), "missing: {}", row(kind));
    }
    let rows = GUIDE.lines().filter(|line| {
        let first = line.trim_start_matches("| ").split(' ').next();
        line.starts_with("| ") && first.is_some_and(|code| code.parse::<u8>().is_ok())
    });
    assert_eq!(rows.count(), ExitKind::ALL.len());
}

#[test]
fn every_command_is_in_the_table_with_what_it_prints() {
    let command = ironic_agentctl::arguments::clap_command();
    for command in command.get_subcommands() {
        let name = command.get_name();
        let row = format!("| `{name}");
        assert!(
            GUIDE.lines().any(|line| line.starts_with(&row)),
            "docs/agentctl.md has no row for {name}"
        );
    }
}

#[test]
fn every_line_of_the_guide_is_a_command_line() {
    let pages = [GUIDE, include_str!("../../../README.md")];
    let lines = pages.iter().flat_map(|page| page.lines());
    let lines: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("    agentctl "))
        .collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let words = std::iter::once("agentctl").chain(line.split_whitespace());
        let read = AgentctlArguments::try_parse_from(words);
        assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
    }
}

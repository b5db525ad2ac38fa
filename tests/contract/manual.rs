//! The man pages and shell completions in `docs` are those of the command lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use ironic_agent::app::{network_clap_command as network, write_image_clap_command as write_image};
use ironic_options::clap_command;
use ironic_shim::join_token_tool;

/// Every file with its text: the path below `docs`, and what it must hold.
fn files() -> Vec<(String, Vec<u8>)> {
    let agent = clap_command::<ironic_agent::config::AgentConfig>()
        .mut_subcommand("write-image", |_| write_image())
        .mut_subcommand("network", |_| network());
    let introspection = agent.find_subcommand("collect-introspection-data");
    let agent_tools = [
        introspection
            .unwrap()
            .clone()
            .name("ironic-agent-collect-introspection-data")
            .bin_name("ironic-agent collect-introspection-data")
            .override_usage("ironic-agent collect-introspection-data [OPTION]..."),
        write_image()
            .name("ironic-agent-write-image")
            .bin_name("ironic-agent write-image"),
        network()
            .name("ironic-agent-network")
            .bin_name("ironic-agent network"),
    ];
    let shim_tool = join_token_tool::clap_command()
        .name("ironic-shim-token")
        .bin_name("ironic-shim token");
    let shim = clap_command::<ironic_shim::config::ShimConfig>()
        .mut_subcommand("token", |_| join_token_tool::clap_command());
    let mut files = Vec::new();
    // The version for a person names the commit.
    let versioned = |command: Command| command.version(env!("CARGO_PKG_VERSION"));
    for program in [&agent, &shim] {
        let name = program.get_name().to_owned();
        files.push(page(&name, versioned(program.clone()), "8"));
    }
    for tool in agent_tools.into_iter().chain([shim_tool]) {
        files.extend(pages(versioned(tool), "8"));
    }
    let control = versioned(ironic_agentctl::arguments::clap_command());
    files.extend(pages(control.clone(), "1"));
    for mut command in [agent, shim, control] {
        let name = command.get_name().to_owned();
        for (shell, extension) in [
            (Shell::Bash, "bash"),
            (Shell::Zsh, "zsh"),
            (Shell::Fish, "fish"),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut script);
            files.push((format!("completions/{name}.{extension}"), script));
        }
    }
    files
}

/// The pages of a program: its own, one for each of its commands, and one for each of theirs.
fn pages(program: Command, section: &str) -> Vec<(String, Vec<u8>)> {
    // `help` has no page, so no page may refer to one.
    let mut program = program.disable_help_subcommand(true);
    // Options of the program are options of its commands.
    program.build();
    let name = program.get_name().to_owned();
    nested_pages(&name, &program, section)
}

fn nested_pages(name: &str, command: &Command, section: &str) -> Vec<(String, Vec<u8>)> {
    let mut pages = vec![page(name, command.clone(), section)];
    for command in command.get_subcommands() {
        let name = format!("{name}-{}", command.get_name());
        pages.extend(nested_pages(&name, command, section));
    }
    pages
}

fn page(name: &str, command: Command, section: &str) -> (String, Vec<u8>) {
    let mut page = Vec::new();
    let manual = Man::new(command.name(name.to_owned())).section(section);
    manual.render(&mut page).unwrap();
    (format!("man/{name}.{section}"), page)
}

#[test]
fn man_pages_and_completions_follow_the_options() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (path, text) in files() {
        let path = docs.join(path);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|written| written == text),
            "{} is not current: UPDATE_GOLDEN=1 cargo test --test contract options",
            path.display()
        );
    }
}

#[test]
fn man_pages_refer_to_pages_that_exist() {
    let files = files();
    let paths: BTreeSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let mut references = 0;
    for (path, text) in &files {
        if !path.starts_with("man/") {
            continue;
        }
        let text = String::from_utf8_lossy(text).replace("\\-", "-");
        for line in text.lines() {
            let reference = line.strip_suffix(')').and_then(|line| line.split_once('('));
            let Some((name, section @ ("1" | "8"))) = reference else {
                continue;
            };
            let page = format!("man/{name}.{section}");
            assert!(paths.contains(page.as_str()), "{path} refers to {page}");
            references += 1;
        }
    }
    assert!(references > 30, "{references}");
}

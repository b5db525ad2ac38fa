//! The man pages and shell completions in `docs` are those of the command lines.

use std::fs;
use std::path::Path;

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
    let agent_tools = [
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
    let pages = [agent.clone(), shim.clone(), shim_tool];
    for command in pages.into_iter().chain(agent_tools) {
        // The version for a person names the commit.
        let command = command.version(env!("CARGO_PKG_VERSION"));
        let path = format!("man/{}.8", command.get_name());
        let mut page = Vec::new();
        Man::new(command).section("8").render(&mut page).unwrap();
        files.push((path, page));
    }
    let control = ironic_agentctl::arguments::clap_command().version(env!("CARGO_PKG_VERSION"));
    files.extend(control_pages(&control));
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

/// The pages of `agentctl`: one, and one for each of its commands.
fn control_pages(control: &clap::Command) -> Vec<(String, Vec<u8>)> {
    let mut built = control.clone();
    // Options of the program are options of its commands.
    built.build();
    let commands = built
        .get_subcommands()
        .filter(|command| command.get_name() != "help");
    let mut pages = vec![("agentctl".to_owned(), control.clone())];
    pages.extend(commands.map(|command| {
        let name = format!("agentctl-{}", command.get_name());
        (name.clone(), command.clone().name(name))
    }));
    let render = |(name, command): (String, clap::Command)| {
        let mut page = Vec::new();
        Man::new(command).section("1").render(&mut page).unwrap();
        (format!("man/{name}.1"), page)
    };
    pages.into_iter().map(render).collect()
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

//! The command line, its help and its errors, built from the option table.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::options::{Opt, all};
use super::table::SECTIONS;
use super::{Config, Program, version};

const CONFIG_FILE: &str = "config-file";
const CONFIG_DIR: &str = "config-dir";

/// What the command line said.
#[derive(Debug)]
pub(super) struct CommandLine {
    /// Options with their texts, in the order of the table.
    pub(super) settings: Vec<(&'static Opt, String)>,
    /// Files and directories in the order in which they were given.
    pub(super) files: Vec<Given>,
}

/// A source of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// `--config-file`
    File(PathBuf),
    /// `--config-dir`
    Directory(PathBuf),
}

/// Reads the arguments, of which the first is the program's name.
///
/// # Errors
/// Those of clap, which are also how `--help` and `--version` end.
pub(super) fn parse(
    program: Program,
    defaults: &Config,
    args: impl Iterator<Item = OsString>,
) -> Result<CommandLine, clap::Error> {
    let matches = command(program, defaults).try_get_matches_from(args)?;
    let settings = all().filter_map(|option| Some((option, setting(&matches, option)?)));
    Ok(CommandLine {
        settings: settings.collect(),
        files: files(&matches),
    })
}

fn setting(matches: &ArgMatches, option: &Opt) -> Option<String> {
    if option.slot.is_switch() && matches.get_flag(&off(option)) {
        return Some("false".to_owned());
    }
    matches.get_one::<String>(&option.flag()).cloned()
}

fn files(matches: &ArgMatches) -> Vec<Given> {
    let given = |id, wrap: fn(PathBuf) -> Given| {
        let indices = matches.indices_of(id).into_iter().flatten();
        let paths = matches.get_many::<PathBuf>(id).into_iter().flatten();
        indices.zip(paths.cloned().map(wrap)).collect::<Vec<_>>()
    };
    let mut files = given(CONFIG_FILE, Given::File);
    files.extend(given(CONFIG_DIR, Given::Directory));
    files.sort_by_key(|(index, _)| *index);
    files.into_iter().map(|(_, file)| file).collect()
}

/// The switch that says no, as oslo has it.
fn off(option: &Opt) -> String {
    match option.group {
        "" => format!("no{}", option.name),
        group => format!("{group}-no{}", option.name),
    }
}

/// Tools that are part of a program.
const AGENT_TOOLS: &str = "Tools:\n  write-image  Write an image to a disk without any conductor; \
                           see ironic-agent write-image --help";

fn command(program: Program, defaults: &Config) -> Command {
    let mut command = Command::new(program.name())
        .version(version())
        .about(program.about())
        .max_term_width(100)
        .next_line_help(true)
        .args_override_self(true)
        .after_help(
            "An option comes from the command line, else from the configuration files, else from \
             virtual media, else from the kernel command line; the token may also come from the \
             environment variable IRONIC_AGENT_TOKEN, which counts before the files. --listen_host and --listen-host are \
             the same. A switch is turned off by --no before its name, for example \
             --noenable_auto_tls.\n\n\
             Without --config-file, /etc/ironic-python-agent.conf is read; without --config-dir, the \
             *.conf files of /etc/ironic-python-agent.conf.d, /etc/ironic-python-agent and \
             /etc/ironic-python-agent.d are.",
        )
        .arg(path(CONFIG_FILE, "FILE", "Read this file; may be repeated."))
        .arg(path(CONFIG_DIR, "DIR", "Read the *.conf files of this directory, in the order of their names; may be repeated."));
    if program == Program::Agent {
        command = command.before_help(AGENT_TOOLS);
    }
    for (heading, options) in SECTIONS {
        for option in *options {
            command = command.arg(argument(program, defaults, option, heading));
            if option.slot.is_switch() {
                let id = off(option);
                command = command.arg(
                    Arg::new(id.clone())
                        .aliases(spellings(&id))
                        .long(id)
                        .hide(true)
                        .overrides_with(option.flag())
                        .action(ArgAction::SetTrue),
                );
            }
        }
    }
    command
}

fn argument(
    program: Program,
    defaults: &Config,
    option: &'static Opt,
    heading: &'static str,
) -> Arg {
    let flag = option.flag();
    let argument = Arg::new(flag.clone())
        .aliases(spellings(&flag))
        .long(flag)
        .help(help(option, defaults))
        .help_heading(heading)
        .hide(!option.is_for(program))
        .value_name(option.slot.word);
    if option.slot.is_switch() {
        argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true)
    } else {
        argument
    }
}

fn path(id: &'static str, word: &'static str, help: &'static str) -> Arg {
    Arg::new(id)
        .long(id)
        .alias(id.replace('-', "_"))
        .value_name(word)
        .help(help)
        .help_heading("Configuration")
        .action(ArgAction::Append)
        .value_parser(PathBufValueParser::new())
}

/// The same flag with hyphens and with underscores.
fn spellings(flag: &str) -> Vec<String> {
    let others = [flag.replace('_', "-"), flag.replace('-', "_")];
    others.into_iter().filter(|other| other != flag).collect()
}

fn help(option: &Opt, defaults: &Config) -> String {
    let mut help = option.help.to_owned();
    let default = (option.slot.show)(defaults);
    let off = option.slot.is_switch() && default == "false";
    if !default.is_empty() && !off && !option.slot.secret {
        help.push_str(&format!(" [default: {default}]"));
    }
    if let Some(key) = option.kernel {
        help.push_str(&format!(" [kernel: {key}]"));
    }
    help
}

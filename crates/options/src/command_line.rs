//! The command line, its help and its errors, built from the options.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::load::ConfigError;
use crate::option::Opt;
use crate::{Program, Settings};

const CONFIG_FILE: &str = "config-file";
const CONFIG_DIR: &str = "config-dir";

/// What the command line of a program says.
#[derive(Debug)]
pub struct CommandLine<S> {
    /// Every option of the program.
    pub(crate) options: Vec<Opt<S>>,
    /// Indices of options with their texts, in the order of the options.
    pub(crate) assignments: Vec<(usize, String)>,
    /// Files and directories in the order in which they were given.
    pub(crate) files: Vec<ConfigPath>,
}

/// A path to read options from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigPath {
    /// `--config-file`
    File(PathBuf),
    /// `--config-dir`
    Directory(PathBuf),
}

impl<S: Settings> CommandLine<S> {
    /// Reads the arguments, of which the first is the program's name. `root` stands for `/`
    /// where the defaults in `--help` depend on the machine.
    ///
    /// # Errors
    /// An argument is wrong; also `--help` and `--version`.
    pub fn parse(args: impl Iterator<Item = OsString>, root: &Path) -> Result<Self, ConfigError> {
        let options = S::options();
        let matches = command(S::PROGRAM, &options, &S::defaults(root))
            .try_get_matches_from(args)
            .map_err(from_clap)?;
        if let Some((tool, _)) = matches.subcommand() {
            let text = format!("error: {tool} must be the first argument");
            return Err(ConfigError::CommandLine(text));
        }
        let numbered = options.iter().enumerate();
        let assignments = numbered
            .filter_map(|(index, option)| Some((index, text_of(&matches, option)?)))
            .collect();
        Ok(Self {
            assignments,
            files: files(&matches),
            options,
        })
    }

    /// The settings as the command line alone has them, before any other source was read.
    #[must_use]
    pub fn preview(&self, root: &Path) -> S {
        let mut settings = S::defaults(root);
        for (index, text) in &self.assignments {
            // Whether the text is valid is found out when everything is loaded.
            let _ = (self.options[*index].slot.set)(&mut settings, text.trim());
        }
        settings
    }
}

fn from_clap(error: clap::Error) -> ConfigError {
    if error.use_stderr() {
        ConfigError::CommandLine(error.to_string().trim_end().to_owned())
    } else {
        ConfigError::Asked(error.to_string())
    }
}

fn text_of<S: Settings>(matches: &ArgMatches, option: &Opt<S>) -> Option<String> {
    if option.slot.is_switch() && matches.get_flag(&negated_flag(option)) {
        return Some("false".to_owned());
    }
    matches.get_one::<String>(&option.flag()).cloned()
}

fn files(matches: &ArgMatches) -> Vec<ConfigPath> {
    let given = |id, wrap: fn(PathBuf) -> ConfigPath| {
        let indices = matches.indices_of(id).into_iter().flatten();
        let paths = matches.get_many::<PathBuf>(id).into_iter().flatten();
        indices.zip(paths.cloned().map(wrap)).collect::<Vec<_>>()
    };
    let mut files = given(CONFIG_FILE, ConfigPath::File);
    files.extend(given(CONFIG_DIR, ConfigPath::Directory));
    files.sort_by_key(|(index, _)| *index);
    files.into_iter().map(|(_, file)| file).collect()
}

/// The switch that says no, as oslo has it.
fn negated_flag<S>(option: &Opt<S>) -> String {
    match option.group {
        "" => format!("no{}", option.name),
        group => format!("{group}-no{}", option.name),
    }
}

/// The command line of a program, for its man page and shell completions. The defaults are those
/// of no machine in particular.
#[must_use]
pub fn clap_command<S: Settings>() -> Command {
    let defaults = S::defaults(Path::new("/nonexistent"));
    command(S::PROGRAM, &S::options(), &defaults)
}

fn command<S: Settings>(program: Program, options: &[Opt<S>], defaults: &S) -> Command {
    let mut command = Command::new(program.name)
        .version(program.version)
        .about(program.about)
        .max_term_width(100)
        .next_line_help(true)
        .args_override_self(true)
        .after_help(program.sources)
        .arg(path(CONFIG_FILE, "FILE", "Read this file; may be repeated."))
        .arg(path(
            CONFIG_DIR,
            "DIR",
            "Read the *.conf files of this directory, in the order of their names; may be repeated.",
        ));
    for tool in program.tools {
        command = command
            .disable_help_subcommand(true)
            .subcommand_help_heading("Tools")
            .subcommand_value_name("TOOL")
            .subcommand(Command::new(tool.name).about(tool.about));
    }
    for option in options {
        command = command.arg(argument(option, defaults));
        if option.slot.is_switch() {
            command = command.arg(negation(option));
        }
    }
    command
}

fn argument<S: Settings>(option: &Opt<S>, defaults: &S) -> Arg {
    let flag = option.flag();
    let argument = Arg::new(flag.clone())
        .aliases(spellings(&flag))
        .long(flag)
        .help(help(option, defaults))
        .help_heading(option.heading)
        .hide(!option.is_offered())
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

fn negation<S: Settings>(option: &Opt<S>) -> Arg {
    let id = negated_flag(option);
    Arg::new(id.clone())
        .aliases(spellings(&id))
        .long(id)
        .hide(true)
        .overrides_with(option.flag())
        .action(ArgAction::SetTrue)
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

fn help<S: Settings>(option: &Opt<S>, defaults: &S) -> String {
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

//! Options of a program and where their values come from.
//!
//! A program describes its options as rows ([`Opt`], made by [`opt!`]) in its implementation of
//! [`Settings`]. From the rows come the command line and `--help`, the readers of files, of the
//! kernel command line, of virtual media and of the environment, and the reference page. What
//! an option is called and how values are written is what ironic-python-agent (oslo.config)
//! does. No option of either program stands here.

mod command_line;
mod ini;
mod kernel;
mod load;
mod option;
mod reference;
#[cfg(feature = "testing")]
pub mod testing;
mod value;
pub mod virtual_media;

pub use command_line::{CommandLine, clap_command};
pub use ini::SyntaxError;
pub use kernel::Parameters;
pub use load::{ConfigError, Loaded, Origin, Warning};
pub use option::{Accessor, Effect, Opt, Target, find, section};
pub use reference::{ReferenceEntry, entries, reference};
pub use value::Value;

use std::path::Path;

/// A program, as its command line introduces it.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name, which is also what `--help` and `--version` begin with.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Tools that are part of the program.
    pub tools: &'static [Tool],
    /// What stands after the options in `--help`: where values come from.
    pub sources: &'static str,
    /// The version for a person.
    pub version: &'static str,
    /// The file that is read without `--config-file`, if it exists; relative to the root.
    pub file: &'static str,
    /// The directories that are read without `--config-dir`, if they exist; likewise.
    pub directories: &'static [&'static str],
}

/// A tool that is part of a program: a subcommand with arguments of its own, which comes before
/// everything else on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// The word that chooses it.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
}

/// What the options of a program become.
pub trait Settings: Clone + Sized + 'static {
    /// The program.
    const PROGRAM: Program;

    /// The values that count where nothing else is said, on the machine at `root`.
    fn defaults(root: &Path) -> Self;

    /// Every option, in the order of `--help`.
    fn options() -> Vec<Opt<Self>>;
}

/// What [`opt!`] expands to.
#[doc(hidden)]
pub mod __support {
    /// The first of two values of one type.
    pub fn same_type<'a, V>(value: &'a V, _like: &V) -> &'a V {
        value
    }

    /// The last name of `group.field`.
    #[must_use]
    pub fn field_name(path: &'static str) -> &'static str {
        path.rsplit('.').next().unwrap_or(path).trim()
    }
}

//! What an option is. The options themselves are rows of [`super::table`].

use super::table::SECTIONS;
use super::value::Value;
use super::{Config, Program};

/// One option.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opt {
    /// Its group in files; empty for `[DEFAULT]`.
    pub(super) group: &'static str,
    /// Its name in files and on the command line.
    pub(super) name: &'static str,
    /// Further groups and names in files, from before the option got its present name.
    pub(super) old: &'static [(&'static str, &'static str)],
    /// Its key on the kernel command line and on virtual media.
    pub(super) kernel: Option<&'static str>,
    /// Whom it is for.
    pub(super) standing: Standing,
    /// What it means, one or more sentences.
    pub(super) help: &'static str,
    /// Where its value is kept.
    pub(super) slot: Slot,
}

/// Whom an option is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Only the agent reads it.
    Agent,
    /// Only the shim reads it.
    Shim,
    /// Both programs read it.
    Both,
    /// An option of ironic-python-agent that we deliberately do not have, and why.
    NotOffered(&'static str),
}

/// Where and how a value is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Sets the value; `false` when the text is none.
    pub(super) set: fn(&mut Config, &str) -> bool,
    /// The value as text.
    pub(super) show: fn(&Config) -> String,
    /// What a text should have been.
    pub(super) expected: &'static str,
    /// The word for the value in `--help`.
    pub(super) word: &'static str,
    /// Whether the text may be shown in an error.
    pub(super) secret: bool,
}

impl Slot {
    /// Whether the option is a switch on the command line.
    pub(super) fn is_switch(&self) -> bool {
        self.word == bool::WORD
    }
}

impl Opt {
    /// Whether `program` acts on it.
    pub(super) fn is_for(&self, program: Program) -> bool {
        match self.standing {
            Standing::Agent => program == Program::Agent,
            Standing::Shim => program == Program::Shim,
            Standing::Both => true,
            Standing::NotOffered(_) => false,
        }
    }

    /// The name on the command line without its dashes: `group-name` as oslo has it.
    pub(super) fn flag(&self) -> String {
        match self.group {
            "" => self.name.to_owned(),
            group => format!("{group}-{}", self.name),
        }
    }

    /// The option as a person names it: `name` or `[group] name`.
    pub(super) fn title(&self) -> String {
        match self.group {
            "" => self.name.to_owned(),
            group => format!("[{group}] {}", self.name),
        }
    }

    /// The options of a file's assignment.
    pub(super) fn in_file(group: &str, key: &str) -> Option<&'static Self> {
        let same = |name: &str| {
            let names = name.bytes().zip(key.bytes());
            name.len() == key.len() && names.map(|(n, k)| (dash(n), dash(k))).all(|(n, k)| n == k)
        };
        all().find(|option| {
            let names =
                std::iter::once((option.group, option.name)).chain(option.old.iter().copied());
            names.into_iter().any(|(g, name)| g == group && same(name))
        })
    }

    pub(super) const fn kernel(mut self, key: &'static str) -> Self {
        self.kernel = Some(key);
        self
    }

    pub(super) const fn group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    pub(super) const fn old(mut self, old: &'static [(&'static str, &'static str)]) -> Self {
        self.old = old;
        self
    }

    pub(super) const fn expecting(mut self, expected: &'static str) -> Self {
        self.slot.expected = expected;
        self
    }

    pub(super) const fn word(mut self, word: &'static str) -> Self {
        self.slot.word = word;
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.slot.secret = true;
        self
    }
}

/// Every option.
pub(super) fn all() -> impl Iterator<Item = &'static Opt> {
    SECTIONS.iter().flat_map(|(_, options)| *options)
}

/// `-` and `_` are the same in a name.
fn dash(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// `field => Standing, "name", "help"`; with `if |value| condition`, values for which it does
/// not hold are refused.
macro_rules! opt {
    ($($path:ident).+ => $standing:expr, $name:literal, $help:expr) => {
        opt!($($path).+ if |_value| true => $standing, $name, $help)
    };
    ($($path:ident).+ if |$value:ident| $holds:expr => $standing:expr, $name:literal, $help:expr) => {
        Opt {
            group: "",
            name: $name,
            old: &[],
            kernel: None,
            standing: $standing,
            help: $help,
            slot: slot(
                |config, text| {
                    let Some(value) = read(&config.$($path).+, text) else { return false };
                    let $value = &value;
                    let holds = $holds;
                    if holds {
                        config.$($path).+ = value;
                    }
                    holds
                },
                |config| $crate::config::value::Value::show(&config.$($path).+),
                kind(|config: &$crate::config::Config| &config.$($path).+),
            ),
        }
    };
}

pub(super) use opt;

/// Reads a value of the type of `_like`.
pub(super) fn read<V: Value>(_like: &V, text: &str) -> Option<V> {
    V::read(text)
}

/// What is expected and the word for it, by the type of a field.
pub(super) const fn kind<V: Value>(_field: fn(&Config) -> &V) -> (&'static str, &'static str) {
    (V::EXPECTED, V::WORD)
}

pub(super) const fn slot(
    set: fn(&mut Config, &str) -> bool,
    show: fn(&Config) -> String,
    (expected, word): (&'static str, &'static str),
) -> Slot {
    Slot {
        set,
        show,
        expected,
        word,
        secret: false,
    }
}

/// An option of ironic-python-agent that we do not have.
pub(super) const fn not_offered(
    group: &'static str,
    name: &'static str,
    reason: &'static str,
) -> Opt {
    Opt {
        group,
        name,
        old: &[],
        kernel: None,
        standing: Standing::NotOffered(reason),
        help: "",
        slot: slot(|_, _| true, |_| String::new(), ("", "TEXT")),
    }
}

/// Like [`not_offered`], a switch on the command line.
pub(super) const fn no_switch(
    group: &'static str,
    name: &'static str,
    reason: &'static str,
) -> Opt {
    not_offered(group, name, reason).word(bool::WORD)
}

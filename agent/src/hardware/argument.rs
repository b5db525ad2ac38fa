//! What a step takes, and what is wrong with what it was given.

use std::borrow::Cow;

use thiserror::Error;

/// One argument of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: Cow<'static, str>,
    /// One sentence for operators.
    pub description: Cow<'static, str>,
    /// Whether the step cannot do without it.
    pub required: bool,
    /// What it must be.
    pub kind: ArgumentKind,
    /// Whether operators may give it: whether Ironic hears of it in `argsinfo`. Ironic
    /// itself sends the others.
    pub advertised: bool,
}

/// What an argument must be. An optional one may also be null, which means its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// Anything.
    Any,
    /// Text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// An object.
    Object,
}

/// Why a step's arguments are refused, before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// The step's `args` are not an object.
    #[error("the step's 'args' must be an object, not {found}")]
    NotAnObject {
        /// What they are.
        found: &'static str,
    },
    /// The step takes no argument of this name.
    #[error(
        "{step}() got an unexpected keyword argument '{name}'; it takes {}",
        list(known)
    )]
    Unknown {
        /// The step's name.
        step: String,
        /// The argument's name.
        name: String,
        /// The names of those that it takes.
        known: Vec<String>,
    },
    /// An argument that the step cannot do without is absent or null.
    #[error("{step}() missing 1 required positional argument: '{name}'")]
    Missing {
        /// The step's name.
        step: String,
        /// The argument's name.
        name: String,
    },
    /// An argument has the wrong type.
    #[error("{step}() argument '{name}' must be {expected}, not {found}")]
    WrongType {
        /// The step's name.
        step: String,
        /// The argument's name.
        name: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// `write_image` was given no image.
    #[error("write_image() needs the object 'image_info'")]
    ImageInfo,
    /// `inject_files` was given a `verify_ca` of the wrong type.
    #[error("inject_files() argument 'verify_ca' must be true, false or the path of a file")]
    VerifyCa,
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<_> = known.iter().map(|name| format!("'{name}'")).collect();
    quoted.join(", ")
}

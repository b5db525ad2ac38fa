//! Why a verb cannot be called with the arguments that it was given.

use std::fmt;

use super::descriptor::{ArgumentKind, VerbDescriptor};
use super::failure::Failure;

/// How the arguments of a command are wrong: the verb cannot be called with them at all.
///
/// The sentences are Python's for a wrong call. Ironic shows them to the operator, and one
/// of its fall-backs looks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misuse {
    /// An argument of a kind that the verb never takes there.
    Kind {
        /// Its name.
        name: &'static str,
        /// What it must be.
        expected: ArgumentKind,
    },
    /// An argument that the verb does not have.
    Unexpected(String),
    /// Arguments that the verb needs and did not get, in the verb's order; at least one.
    Missing(Vec<&'static str>),
}

impl Misuse {
    /// The failure of a command that was called like this.
    #[must_use]
    pub fn failure(&self, verb: &VerbDescriptor) -> Failure {
        Failure::execution(self.sentence(verb))
    }

    /// What is wrong with the call, in one sentence.
    #[must_use]
    pub fn sentence(&self, verb: &VerbDescriptor) -> String {
        let call = PythonCall(verb);
        match self {
            Self::Kind { name, expected } => {
                let expected = word(*expected);
                format!("'{name}' of {} must be {expected}", verb.name)
            }
            Self::Unexpected(name) => {
                format!("{call} got an unexpected keyword argument '{name}'")
            }
            Self::Missing(names) => format!(
                "{call} missing {} required positional argument{}: {}",
                names.len(),
                if names.len() == 1 { "" } else { "s" },
                listing(names)
            ),
        }
    }
}

fn word(kind: ArgumentKind) -> &'static str {
    match kind {
        ArgumentKind::Text => "a text",
        ArgumentKind::Flag => "true or false",
        ArgumentKind::Object | ArgumentKind::Further => "an object",
        ArgumentKind::Objects => "a list of objects",
        ArgumentKind::List => "a list",
        ArgumentKind::Any => "anything",
    }
}

/// `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`.
fn listing(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
    }
}

/// `CleanExtension.execute_clean_step()`
struct PythonCall<'a>(&'a VerbDescriptor);

impl fmt::Display for PythonCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}()", self.0.class(), self.0.command())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::failure::FailureKind;

    #[test]
    fn wrong_calls_read_like_pythons() {
        let cases = [
            (
                "clean.execute_clean_step",
                Misuse::Missing(vec!["step"]),
                "CleanExtension.execute_clean_step() missing 1 required positional argument: 'step'",
            ),
            (
                "deploy.execute_deploy_step",
                Misuse::Missing(vec!["step", "node"]),
                "DeployExtension.execute_deploy_step() missing 2 required positional arguments: 'step' and 'node'",
            ),
            (
                "service.get_service_steps",
                Misuse::Missing(vec!["a", "b", "c"]),
                "ServiceExtension.get_service_steps() missing 3 required positional arguments: 'a', 'b', and 'c'",
            ),
            (
                "image.install_bootloader",
                Misuse::Unexpected("x".to_owned()),
                "ImageExtension.install_bootloader() got an unexpected keyword argument 'x'",
            ),
        ];
        for (name, misuse, text) in cases {
            let failure = misuse.failure(VerbDescriptor::by_name(name).unwrap());
            assert_eq!(failure.kind, FailureKind::CommandExecution);
            assert_eq!(failure.details, text);
        }
    }
}

//! Hands the machine over to a person.
//!
//! A service of the ramdisk reads the password file and lets the rescuer in. The marker says
//! to later starts of the agent that the machine is no longer its own.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ironic_text::Secret;
use rand::RngExt;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::{Failure, FailureKind};
use crate::commands::plan::CommandPlan;
use crate::system::System;
use crate::task::Task;

mod crypt;

const PASSWORD_FILE: &str = "/etc/ipa-rescue-config/ipa-rescue-password";
const MARKER: &str = "/etc/.rescued";

/// Whether the machine was handed over: the agent then neither serves nor sends heartbeats.
#[must_use]
pub fn was_rescued(system: &System) -> bool {
    system.root.exists(MARKER)
}

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalizeRescue {
    /// The rescuer's password, or its crypt(3) hash.
    pub password: Secret,
    /// Whether it is a hash.
    pub hashed: bool,
}

impl Verb for FinalizeRescue {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            password: Secret::new(arguments.text("rescue_password").unwrap_or_default()),
            hashed: arguments.flag("hashed").unwrap_or_default(),
        })
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of(
            "Leave the password for the rescue service and end the agent's service.",
        ))
    }

    /// Leaves the password for the ramdisk's rescue service and marks the machine. Answers
    /// null; the engine then announces the end of the service.
    ///
    /// # Errors
    /// The password is absurdly long or cannot be written: the agent goes on serving.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        if context.system.simulation.is_some() {
            task.warn("a simulation has no users, so no password was set");
            return Ok(Value::Null);
        }
        // The scheme hashes as often as the password is long.
        const MAX_PASSWORD_BYTES: usize = 1024;
        if self.password.reveal().len() > MAX_PASSWORD_BYTES {
            return Err(Failure::new(
                FailureKind::InvalidCommandParams,
                format!("'rescue_password' is longer than {MAX_PASSWORD_BYTES} bytes."),
            ));
        }
        check(self.password.reveal(), self.hashed)?;
        let system = context.system.clone();
        let task = task.clone();
        let written = tokio::task::spawn_blocking(move || self.hand_over(&system, &task));
        match written.await {
            Ok(Ok(())) => Ok(Value::Null),
            Ok(Err(error)) => Err(not_written(&error)),
            Err(error) => Err(not_written(&error)),
        }
    }
}

impl FinalizeRescue {
    fn hand_over(&self, system: &System, task: &Task) -> io::Result<()> {
        let secret = if self.hashed {
            self.password.reveal().to_owned()
        } else {
            crypt::sha256_crypt(self.password.reveal(), &salt())
        };
        // The directory belongs to the rescue service: without it nobody would read the file.
        write(&system.root.writable(PASSWORD_FILE)?, secret.as_bytes())?;
        let marker = system.root.writable(MARKER);
        if let Err(error) = marker.and_then(|marker| write(&marker, b"")) {
            task.warn(format!(
                "{MARKER} was not written, so a restart of the agent would serve again: {error}"
            ));
        }
        Ok(())
    }
}

/// Refuses what would allow unauthenticated access, or none at all: the rescue service takes
/// what it is given.
fn check(password: &str, hashed: bool) -> Result<(), Failure> {
    let wrong = |text: &str| Err(Failure::new(FailureKind::InvalidCommandParams, text));
    if password.is_empty() {
        return wrong(
            "'rescue_password' is empty, and a rescue without a password lets anybody in.",
        );
    }
    if !hashed {
        return Ok(());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./$=,-_".contains(&byte);
    let scheme = password
        .strip_prefix('$')
        .and_then(|rest| rest.split_once('$'))
        .map(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    if scheme != Some(true) || !password.bytes().all(is_plain) {
        return wrong(
            "'rescue_password' is not a hash of crypt(3) such as $5$salt$hash. Send the password \
             itself without 'hashed', or its hash.",
        );
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_data()
}

fn salt() -> String {
    const LENGTH: usize = 16;
    let mut random = rand::rng();
    (0..LENGTH)
        .map(|_| char::from(crypt::ALPHABET[random.random_range(0..crypt::ALPHABET.len())]))
        .collect()
}

fn not_written(error: &dyn std::error::Error) -> Failure {
    Failure::execution(format!(
        "Rescue Operation failed when writing the hashed rescue password to the password file. \
         Error {error}"
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::commands::testing;
    use crate::config::AgentConfig;
    use crate::system::PathPrefix;

    /// A machine with a rescue service, whose `/etc` is in the directory.
    fn machine(directory: &tempfile::TempDir) -> CommandContext {
        fs::create_dir_all(directory.path().join("etc/ipa-rescue-config")).unwrap();
        let mut context = testing::context(AgentConfig::default());
        context.system.root = PathPrefix::new(directory.path());
        context.system.simulation = None;
        context
    }

    async fn rescue(
        context: &CommandContext,
        password: &str,
        hashed: bool,
    ) -> Result<Value, Failure> {
        let password = Secret::new(password);
        let verb = FinalizeRescue { password, hashed };
        verb.run(context, &Task::detached()).await
    }

    #[tokio::test]
    async fn a_hash_is_left_as_it_came() {
        for hash in ["$1$salt$x", "$2a$10$x", "$5$salt$x", "$6$salt$x"] {
            let directory = tempfile::tempdir().unwrap();
            let context = machine(&directory);
            assert!(!was_rescued(&context.system));
            assert_eq!(rescue(&context, hash, true).await, Ok(Value::Null));
            let file = directory
                .path()
                .join("etc/ipa-rescue-config/ipa-rescue-password");
            assert_eq!(fs::read_to_string(&file).unwrap(), hash);
            assert_eq!(
                fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600
            );
            assert!(was_rescued(&context.system));
        }
    }

    #[tokio::test]
    async fn a_password_is_hashed_with_a_salt_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let context = machine(&directory);
        let file = directory
            .path()
            .join("etc/ipa-rescue-config/ipa-rescue-password");
        let mut seen = Vec::new();
        for _ in 0..2 {
            rescue(&context, "hunter2", false).await.unwrap();
            let text = fs::read_to_string(&file).unwrap();
            let parts: Vec<&str> = text.split('$').collect();
            assert_eq!((parts[0], parts[1], parts[2].len()), ("", "5", 16));
            assert_eq!(crypt::sha256_crypt("hunter2", parts[2]), text);
            seen.push(text);
        }
        assert_ne!(seen[0], seen[1]);
    }

    #[tokio::test]
    async fn without_a_rescue_service_the_machine_is_not_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        let context = machine(&directory);
        fs::remove_dir(directory.path().join("etc/ipa-rescue-config")).unwrap();
        let failure = rescue(&context, "$5$x", true).await.unwrap_err();
        assert!(
            failure.details.starts_with(
                "Rescue Operation failed when writing the hashed rescue password to the \
                 password file. Error "
            ),
            "{failure}"
        );
        assert!(!was_rescued(&context.system));
    }

    #[tokio::test]
    async fn empty_and_invalid_passwords_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let context = machine(&directory);
        for (password, hashed) in [
            ("", false),
            ("", true),
            ("hunter2", true),
            ("$5$", true),
            ("$$x", true),
            ("$5$salt$x\nroot:y", true),
            ("$5$salt$x:0", true),
        ] {
            let failure = rescue(&context, password, hashed).await.unwrap_err();
            assert!(failure.kind.is_refusal(), "{password:?}");
            assert!(!failure.details.contains("hunter2"), "{failure}");
        }
        assert!(!was_rescued(&context.system));
        assert_eq!(
            rescue(&context, "$y$j9T$salt$x", true).await,
            Ok(Value::Null)
        );
    }

    #[tokio::test]
    async fn an_absurd_password_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let context = machine(&directory);
        let failure = rescue(&context, &"x".repeat(1025), false)
            .await
            .unwrap_err();
        assert!(failure.kind.is_refusal());
        assert!(!was_rescued(&context.system));
    }

    #[tokio::test]
    async fn a_simulation_hands_nothing_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut context = machine(&directory);
        let simulated = System::simulated(directory.path());
        context.system.simulation = simulated.simulation;
        assert_eq!(rescue(&context, "$5$x", true).await, Ok(Value::Null));
        assert!(!was_rescued(&context.system));
    }
}

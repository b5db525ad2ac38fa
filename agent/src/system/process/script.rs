//! A world for tests in which programs are scripted.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::future::BoxFuture;

use super::command::{Cmd, Output, Run, RunError};
use super::recording::record;

/// A scripted world for tests: each expected command line with its answer.
///
/// It is stateful and strict: an unexpected command panics with the argv it saw, and
/// [`Script::assert_done`] fails while expected commands are missing.
#[derive(Debug, Default)]
pub struct Script {
    expected: Mutex<VecDeque<(String, Result<Output, RunError>)>>,
}

#[allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a fake fails its test loudly"
)]
impl Script {
    /// A script in which no program is expected.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects this command line next and answers with this standard output.
    #[must_use]
    pub fn expect(self, command: &str, stdout: &str) -> Self {
        let output = Output {
            stdout: stdout.into(),
            ..Output::default()
        };
        self.expect_result(command, Ok(output))
    }

    /// Expects this command line next and answers with this result.
    #[must_use]
    pub fn expect_result(self, command: &str, result: Result<Output, RunError>) -> Self {
        self.expected
            .lock()
            .expect("no panic in between")
            .push_back((command.into(), result));
        self
    }

    /// Fails while expected commands have not been run.
    pub fn assert_done(&self) {
        let left = self.expected.lock().expect("no panic in between");
        assert!(
            left.is_empty(),
            "these commands were expected and not run: {left:?}"
        );
    }
}

#[allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a fake fails its test loudly"
)]
impl Run for Script {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        record(&cmd);
        let next = self
            .expected
            .lock()
            .expect("no panic in between")
            .pop_front();
        let Some((command, result)) = next else {
            panic!("no command was expected, but this one was run: {cmd}");
        };
        assert_eq!(command, cmd.to_string(), "another command was expected");
        Box::pin(std::future::ready(result))
    }
}

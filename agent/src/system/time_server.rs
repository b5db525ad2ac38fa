//! Setting the system's clock by a time server: with chrony, or else ntpdate, or else without any
//! program.

use ironic_text::is_host;
use thiserror::Error;

use super::clock::ClockError;
use super::{Cmd, RunError, System};

/// Why the clock was not set by a time server.
#[derive(Debug, Error)]
pub enum TimeServerError {
    /// This is not a name or an address.
    #[error("Invalid NTP server address: {0}")]
    InvalidName(String),
    /// A program failed.
    #[error("Failed to sync time with ntp server: {server}: {source}")]
    Program {
        /// As it is configured.
        server: String,
        /// What the program said.
        source: RunError,
    },
    /// The server did not answer, or the clock could not be set.
    #[error("Failed to sync time with ntp server: {server}: {source}")]
    Clock {
        /// As it is configured.
        server: String,
        /// What is wrong.
        source: ClockError,
    },
}

/// Sets the system's clock by the time server `server`, at once and by any distance.
///
/// # Errors
/// The server's name is invalid, the server does not answer, or a program failed.
pub async fn set_clock_by(system: &System, server: &str) -> Result<(), TimeServerError> {
    if server.is_empty() || !is_host(server) {
        return Err(TimeServerError::InvalidName(server.to_owned()));
    }
    let failed = |source| TimeServerError::Program {
        server: server.to_owned(),
        source,
    };
    let is_installed = async |probe: Cmd| {
        !matches!(
            system.run.run(probe).await,
            Err(RunError::Missing { .. } | RunError::Failed { .. })
        )
    };
    let set = if is_installed(Cmd::new("chronyd").arg("-h")).await {
        let stop = Cmd::new("chronyc").arg("shutdown").accept([0, 1]);
        system.run.run(stop).await.map_err(failed)?;
        Cmd::new("chronyd").args(["-q".to_owned(), format!("server {server} iburst")])
    } else if is_installed(Cmd::new("ntpdate").arg("-v").accept([0, 1])).await {
        Cmd::new("ntpdate").arg(server)
    } else {
        let set = system.clock.set_by(server).await;
        let correction = set.map_err(|source| TimeServerError::Clock {
            server: server.to_owned(),
            source,
        })?;
        tracing::info!(server, %correction, "the clock was set");
        return Ok(());
    };
    system.run.run(set).await.map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::system::Clock;
    use crate::system::clock::ClockCorrection;
    use crate::system::process::Script;

    /// A machine whose programs and clock are these.
    fn machine(script: &Arc<Script>, clock: &Arc<AskedClock>) -> System {
        System {
            run: script.clone(),
            clock: clock.clone(),
            ..System::linux()
        }
    }

    /// Remembers the servers that it was to be set by.
    #[derive(Debug, Default)]
    struct AskedClock(Mutex<Vec<String>>);

    impl Clock for AskedClock {
        fn set_by<'a>(
            &'a self,
            server: &'a str,
        ) -> BoxFuture<'a, Result<ClockCorrection, ClockError>> {
            self.0.lock().unwrap().push(server.to_owned());
            let set = if server == "broken.example" {
                Err(ClockError::LeftAlone)
            } else {
                Ok(ClockCorrection(1.0))
            };
            Box::pin(std::future::ready(set))
        }
    }

    #[tokio::test]
    async fn only_names_and_addresses_are_given_to_programs() {
        let long = "a".repeat(254);
        for server in ["", "-u", "a b", "a'b", "$(x)", "`x`", "a|b", "a&&b", &long] {
            let script = Arc::new(Script::new());
            let error = set_clock_by(&machine(&script, &Arc::default()), server)
                .await
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Invalid NTP server address: {server}")
            );
        }
        for server in ["fd00::1", "ntp-1.example.org", &long[1..]] {
            let script = Script::new()
                .expect("chronyd -h", "")
                .expect("chronyc shutdown", "")
                .expect(&format!("chronyd -q server {server} iburst"), "");
            let script = Arc::new(script);
            set_clock_by(&machine(&script, &Arc::default()), server)
                .await
                .unwrap();
            script.assert_done();
        }
    }

    #[tokio::test]
    async fn without_a_time_program_the_agent_asks_the_server_itself() {
        let clock = Arc::new(AskedClock::default());
        for (server, is_set) in [("192.168.1.1", true), ("broken.example", false)] {
            let missing = |program: &str| {
                Err(RunError::Missing {
                    program: program.into(),
                })
            };
            let script = Script::new()
                .expect_result("chronyd -h", missing("chronyd"))
                .expect_result("ntpdate -v", missing("ntpdate"));
            let script = Arc::new(script);
            let set = set_clock_by(&machine(&script, &clock), server).await;
            script.assert_done();
            assert_eq!(set.is_ok(), is_set, "{set:?}");
            if let Err(error) = set {
                let expected = "Failed to sync time with ntp server: broken.example: ";
                assert!(error.to_string().starts_with(expected), "{error}");
            }
        }
        assert_eq!(*clock.0.lock().unwrap(), ["192.168.1.1", "broken.example"]);
    }
}

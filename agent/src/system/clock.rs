//! The system's clock, and asking a time server what it should show. A ramdisk needs no time
//! program for it.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use rsntp::AsyncSntpClient;
use thiserror::Error;

/// The port of time servers.
const PORT: u16 = 123;
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Questions to each address of a server. The answer that was underway for the shortest time
/// is the most exact one.
const QUESTIONS: usize = 4;

/// How long the machine has been up, sleep included. Unlike the time of day it never jumps, and
/// it goes on while programs are restarted.
#[must_use]
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The kernel counts from zero, and nanoseconds are less than a second.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

/// Sets the clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Sets the clock by a time server, at once and by any distance. Answers by how much.
    fn set_by<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<ClockCorrection, ClockError>>;
}

/// By how much the clock was wrong, in seconds; positive when it was slow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockCorrection(pub f64);

impl fmt::Display for ClockCorrection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.3} s", self.0)
    }
}

/// Why the clock is as it was.
#[derive(Debug, Error)]
pub enum ClockError {
    /// The server's name has no address.
    #[error("the time server {server} has no address: {source}")]
    Unknown {
        /// As it is configured.
        server: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the server gave a time that can be used.
    #[error("the time server {server} does not tell the time: {source}")]
    Silent {
        /// As it is configured.
        server: String,
        /// What happened last.
        source: NoTimeError,
    },
    /// The kernel did not set the clock.
    #[error("the clock cannot be set: {0}")]
    Refused(#[from] io::Error),
    /// This is not the machine's own clock.
    #[error("the clock of this machine is left alone")]
    LeftAlone,
}

/// Why a server gave no time that can be used.
#[derive(Debug, Error)]
pub enum NoTimeError {
    /// Its name has no address.
    #[error("it has no address")]
    NoAddress,
    /// An address does not answer rightly.
    #[error("{address}: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What is wrong.
        source: rsntp::SynchronizationError,
    },
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelClock;

impl Clock for KernelClock {
    fn set_by<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<ClockCorrection, ClockError>> {
        Box::pin(async move {
            let correction = measure(server, PORT).await?;
            set(correction)?;
            Ok(correction)
        })
    }
}

/// The clock of a machine that is not ours: never set.
#[derive(Debug, Clone, Copy, Default)]
pub struct ForeignClock;

impl Clock for ForeignClock {
    fn set_by<'a>(
        &'a self,
        _server: &'a str,
    ) -> BoxFuture<'a, Result<ClockCorrection, ClockError>> {
        Box::pin(std::future::ready(Err(ClockError::LeftAlone)))
    }
}

fn set(correction: ClockCorrection) -> io::Result<()> {
    let outside = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let now = SystemTime::now();
    let step = Duration::try_from_secs_f64(correction.0.abs()).map_err(outside)?;
    let right = if correction.0 < 0.0 {
        now.checked_sub(step)
    } else {
        now.checked_add(step)
    };
    let since = right.and_then(|right| right.duration_since(UNIX_EPOCH).ok());
    let since = since.ok_or(io::ErrorKind::InvalidInput)?;
    let time = rustix::time::Timespec {
        tv_sec: since
            .as_secs()
            .try_into()
            .map_err(|_| io::ErrorKind::InvalidInput)?,
        tv_nsec: since.subsec_nanos().into(),
    };
    Ok(rustix::time::clock_settime(
        rustix::time::ClockId::Realtime,
        time,
    )?)
}

/// Asks the server's addresses in their order; the first that answers decides.
async fn measure(server: &str, port: u16) -> Result<ClockCorrection, ClockError> {
    let addresses = tokio::net::lookup_host((server, port))
        .await
        .map_err(|source| ClockError::Unknown {
            server: server.to_owned(),
            source,
        })?;
    let mut last = NoTimeError::NoAddress;
    for address in addresses {
        let mut best: Option<Sample> = None;
        for _ in 0..QUESTIONS {
            match ask(address).await {
                Ok(sample) if best.is_none_or(|best| sample.underway < best.underway) => {
                    best = Some(sample);
                }
                Ok(_) => {}
                Err(source) => {
                    last = NoTimeError::Address { address, source };
                    break;
                }
            }
        }
        if let Some(best) = best {
            return Ok(best.correction);
        }
    }
    Err(ClockError::Silent {
        server: server.to_owned(),
        source: last,
    })
}

/// One answer.
#[derive(Debug, Clone, Copy)]
struct Sample {
    correction: ClockCorrection,
    /// How long question and answer were underway, in seconds.
    underway: f64,
}

async fn ask(server: SocketAddr) -> Result<Sample, rsntp::SynchronizationError> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let config = rsntp::Config::default().bind_address(any).timeout(TIMEOUT);
    let answer = AsyncSntpClient::with_config(config)
        .synchronize(server)
        .await?;
    Ok(Sample {
        correction: ClockCorrection(answer.clock_offset().as_secs_f64()),
        underway: answer.round_trip_delay().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// Seconds from 1900, where NTP begins, to 1970.
    const EPOCH: u64 = 2_208_988_800;
    const AHEAD: f64 = 1000.0;

    /// An answer of this stratum from a clock that is ahead of ours.
    fn reply(question: &[u8], stratum: u8) -> Vec<u8> {
        let ahead = SystemTime::now() + Duration::from_secs_f64(AHEAD);
        let since = ahead.duration_since(UNIX_EPOCH).unwrap();
        let seconds = (since.as_secs() + EPOCH) & 0xffff_ffff;
        let part = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        let stamp = ((seconds << 32) | part).to_be_bytes();
        let mut message = vec![0; 48];
        // No leap second, version 4, a server.
        (message[0], message[1]) = (0b00_100_100, stratum);
        message[24..32].copy_from_slice(&question[40..48]);
        message[32..40].copy_from_slice(&stamp);
        message[40..48].copy_from_slice(&stamp);
        message
    }

    /// What a server of this stratum makes of our clock.
    async fn measured(stratum: u8) -> Result<ClockCorrection, ClockError> {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let serving = async {
            let mut buffer = [0; 48];
            loop {
                let (_, from) = server.recv_from(&mut buffer).await.unwrap();
                let reply = reply(&buffer, stratum);
                server.send_to(&reply, from).await.unwrap();
            }
        };
        tokio::select! {
            measured = measure("127.0.0.1", port) => measured,
            () = serving => unreachable!(),
        }
    }

    #[tokio::test]
    async fn the_clock_is_compared_with_the_servers() {
        let correction = measured(2).await.unwrap();
        assert!((correction.0 - AHEAD).abs() < 1.0, "{correction}");
    }

    #[tokio::test]
    async fn a_server_that_has_no_time_itself_is_not_believed() {
        for stratum in [0, 16] {
            let error = measured(stratum).await.unwrap_err().to_string();
            assert!(error.contains("does not tell the time"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        // Nobody listens where somebody just did.
        let port = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = port.local_addr().unwrap().port();
        let error = measure("127.0.0.1", port).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the time server 127.0.0.1 does not tell the time: 127.0.0.1:"),
            "{error}"
        );
    }

    #[test]
    fn corrections_have_a_sign() {
        for (seconds, text) in [(0.0, "+0.000 s"), (1.5, "+1.500 s"), (-61.001, "-61.001 s")] {
            assert_eq!(ClockCorrection(seconds).to_string(), text);
        }
    }
}

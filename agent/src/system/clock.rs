//! The system's clock, and asking a time server what it should show.
//!
//! The question is the simple form of NTP (RFC 4330 and RFC 5905, section 14): one datagram to
//! port 123, one back. A ramdisk needs no time program for it.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::net::UdpSocket;

/// The port of time servers.
const PORT: u16 = 123;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions to each address of a server. The answer that was underway for the shortest time
/// is the most exact one.
const QUESTIONS: usize = 4;
/// Seconds from 1900, where NTP begins, to 1970.
const EPOCH: i128 = 2_208_988_800;
/// Seconds after which NTP's counter begins anew, in 2036.
const ERA: i128 = 1 << 32;
const NANOS: i128 = 1_000_000_000;

/// Sets the clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Sets the clock by a time server, at once and by any distance. Answers by how much.
    fn set_by<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<Correction, ClockError>>;
}

/// By how much the clock was wrong, in nanoseconds; positive when it was slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Correction(pub i128);

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1_000_000;
        let sign = if millis < 0 { '-' } else { '+' };
        let millis = millis.unsigned_abs();
        write!(f, "{sign}{}.{:03} s", millis / 1000, millis % 1000)
    }
}

/// Why the clock is as it was.
#[derive(Debug, Error)]
pub enum ClockError {
    /// The server's name has no address.
    #[error("the time server {server} has no address: {reason}")]
    Unknown {
        /// As it was told.
        server: String,
        /// What the resolver said.
        reason: String,
    },
    /// No address of the server gave a time that can be used.
    #[error("the time server {server} does not tell the time: {reason}")]
    Silent {
        /// As it was told.
        server: String,
        /// What happened last.
        reason: String,
    },
    /// The kernel did not set the clock.
    #[error("the clock cannot be set: {0}")]
    Refused(#[from] io::Error),
    /// This is not the machine's own clock.
    #[error("the clock of this machine is left alone")]
    LeftAlone,
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelClock;

impl Clock for KernelClock {
    fn set_by<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<Correction, ClockError>> {
        Box::pin(async move {
            let correction = measure(server, PORT).await?;
            set(nanos(SystemTime::now()) + correction.0)?;
            Ok(correction)
        })
    }
}

/// The clock of a machine that is not ours: never set.
#[derive(Debug, Clone, Copy, Default)]
pub struct ForeignClock;

impl Clock for ForeignClock {
    fn set_by<'a>(&'a self, _server: &'a str) -> BoxFuture<'a, Result<Correction, ClockError>> {
        Box::pin(std::future::ready(Err(ClockError::LeftAlone)))
    }
}

fn set(nanos: i128) -> io::Result<()> {
    let outside = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let time = rustix::time::Timespec {
        tv_sec: nanos.div_euclid(NANOS).try_into().map_err(outside)?,
        tv_nsec: nanos.rem_euclid(NANOS).try_into().map_err(outside)?,
    };
    Ok(rustix::time::clock_settime(
        rustix::time::ClockId::Realtime,
        time,
    )?)
}

fn nanos(time: SystemTime) -> i128 {
    let whole = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    time.duration_since(UNIX_EPOCH)
        .map_or_else(|before| -whole(before.duration()), whole)
}

/// Asks the server's addresses in their order; the first that answers decides.
async fn measure(server: &str, port: u16) -> Result<Correction, ClockError> {
    let addresses = tokio::net::lookup_host((server, port))
        .await
        .map_err(|error| ClockError::Unknown {
            server: server.to_owned(),
            reason: error.to_string(),
        })?;
    let mut reason = "it has no address".to_owned();
    for address in addresses {
        let mut best: Option<Sample> = None;
        for _ in 0..QUESTIONS {
            match ask(address).await {
                Ok(sample) if best.is_none_or(|best| sample.underway < best.underway) => {
                    best = Some(sample);
                }
                Ok(_) => {}
                Err(why) => {
                    reason = format!("{address}: {why}");
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
        reason,
    })
}

/// One answer.
#[derive(Debug, Clone, Copy)]
struct Sample {
    correction: Correction,
    /// How long question and answer were underway, in nanoseconds.
    underway: i128,
}

async fn ask(server: SocketAddr) -> Result<Sample, String> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let text = |error: io::Error| error.to_string();
    let socket = UdpSocket::bind(any).await.map_err(text)?;
    socket.connect(server).await.map_err(text)?;
    // In place of our time, which is nobody's business: what nobody can guess.
    let cookie: [u8; 8] = rand::random();
    let (asked, began) = (nanos(SystemTime::now()), Instant::now());
    socket.send(&question(cookie)).await.map_err(text)?;
    let mut buffer = [0; 512];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
        .map_err(text)?;
    let took = i128::try_from(began.elapsed().as_nanos()).unwrap_or(i128::MAX);
    let told = answer(buffer.get(..length).unwrap_or_default(), cookie)?;
    let stayed = told.left - told.came;
    Ok(Sample {
        correction: Correction((told.came - asked + told.left - (asked + took)) / 2),
        underway: took - stayed,
    })
}

fn question(cookie: [u8; 8]) -> [u8; 48] {
    let mut message = [0; 48];
    // No leap second known, version 4, a client.
    message[0] = 0b00_100_011;
    message[40..].copy_from_slice(&cookie);
    message
}

/// When the server got the question and when it answered, in nanoseconds since 1970.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    came: i128,
    left: i128,
}

fn answer(message: &[u8], cookie: [u8; 8]) -> Result<Told, String> {
    let Some(message) = message.first_chunk::<48>() else {
        return Err(format!("an answer of {} bytes", message.len()));
    };
    let (leap, mode, stratum) = (message[0] >> 6, message[0] & 7, message[1]);
    if mode != 4 || message[24..32] != cookie {
        return Err("the answer is to another question".to_owned());
    }
    if stratum == 0 {
        let code = String::from_utf8_lossy(&message[12..16]);
        return Err(format!("it refuses ({})", code.escape_default()));
    }
    if leap == 3 || stratum > 15 {
        return Err("its own clock is not set".to_owned());
    }
    let (came, left) = (moment(&message[32..40]), moment(&message[40..48]));
    match (came, left) {
        (Some(came), Some(left)) if left >= came => Ok(Told { came, left }),
        _ => Err("its answer has no time".to_owned()),
    }
}

/// Seconds and their 2^32nd parts. The first bit says in which era: 1968 to 2036, or after.
fn moment(bytes: &[u8]) -> Option<i128> {
    let number = u64::from_be_bytes(bytes.try_into().ok()?);
    if number == 0 {
        return None;
    }
    let (seconds, part) = (i128::from(number >> 32), i128::from(number & 0xffff_ffff));
    let era = if seconds >> 31 == 0 { ERA } else { 0 };
    Some((seconds + era - EPOCH) * NANOS + ((part * NANOS) >> 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of stratum 2 to this question.
    fn reply(question: &[u8], came: i128, left: i128) -> Vec<u8> {
        let stamp = |nanos: i128| {
            let seconds = nanos.div_euclid(NANOS) + EPOCH;
            let part = (nanos.rem_euclid(NANOS) << 32) / NANOS;
            u64::try_from(((seconds % ERA) << 32) | part)
                .unwrap()
                .to_be_bytes()
        };
        let mut message = vec![0; 48];
        (message[0], message[1]) = (0b00_100_100, 2);
        message[24..32].copy_from_slice(&question[40..48]);
        message[32..40].copy_from_slice(&stamp(came));
        message[40..48].copy_from_slice(&stamp(left));
        message
    }

    #[test]
    fn what_a_time_server_says_is_read_in_both_eras() {
        let cookie = *b"question";
        let asked = question(cookie);
        for seconds in [
            1,
            1_790_000_000,
            2_085_978_495,
            2_085_978_496,
            4_000_000_000,
        ] {
            let came = seconds * NANOS + 500_000_000;
            let told = answer(&reply(&asked, came, came + NANOS), cookie).unwrap();
            assert_eq!(told.left - told.came, NANOS);
            assert!((told.came - came).abs() < 2, "{seconds}: {told:?}");
        }
    }

    type Change = fn(&mut Vec<u8>);

    #[test]
    fn what_is_no_time_is_refused() {
        let cookie = *b"question";
        let good = reply(&question(cookie), NANOS, NANOS);
        let changed = |change: Change| {
            let mut message = good.clone();
            change(&mut message);
            answer(&message, cookie).unwrap_err()
        };
        let refused: [(Change, &str); 7] = [
            (|m| m.truncate(47), "an answer of 47 bytes"),
            (|m| m[0] = 0b00_100_011, "the answer is to another question"),
            (|m| m[24] ^= 1, "the answer is to another question"),
            (
                |m| m[..16].copy_from_slice(b"\x24\0..........RATE"),
                "it refuses (RATE)",
            ),
            (|m| m[0] |= 0b11 << 6, "its own clock is not set"),
            (|m| m[1] = 16, "its own clock is not set"),
            (|m| m[40..48].fill(0), "its answer has no time"),
        ];
        for (change, expected) in refused {
            assert_eq!(changed(change), expected);
        }
    }

    #[tokio::test]
    async fn the_clock_is_compared_with_the_servers() {
        const AHEAD: i128 = 1000 * NANOS;
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let serving = async {
            let mut buffer = [0; 48];
            loop {
                let (_, from) = server.recv_from(&mut buffer).await.unwrap();
                let now = nanos(SystemTime::now()) + AHEAD;
                let reply = reply(&buffer, now, now);
                server.send_to(&reply, from).await.unwrap();
            }
        };
        let correction = tokio::select! {
            measured = measure("127.0.0.1", port) => measured.unwrap(),
            () = serving => unreachable!(),
        };
        let wrong = (correction.0 - AHEAD).abs();
        assert!(wrong < NANOS, "{correction}");
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
        for (nanos, text) in [
            (0, "+0.000 s"),
            (1_500_000_000, "+1.500 s"),
            (-61_001_000_000, "-61.001 s"),
        ] {
            assert_eq!(Correction(nanos).to_string(), text);
        }
    }
}

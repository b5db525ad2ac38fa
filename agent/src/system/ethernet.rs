//! What a network interface is asked by `ioctl` and by packet sockets: the speed that it
//! could have, and the LLDP frames that its switch sends.
//!
//! Layouts: `linux/if.h`, `linux/ethtool.h`, `linux/if_packet.h`.

#![allow(unsafe_code, reason = "rustix has these requests in raw form only")]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};

const IFNAMSIZ: usize = 16;
const SIOCGIFFLAGS: Opcode = 0x8913;
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCETHTOOL: Opcode = 0x8946;
const IFF_PROMISC: i16 = 0x100;
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const LLDP: u16 = 0x88cc;
/// Longer than any LLDP frame without jumbo frames.
const MAX_FRAME_BYTES: usize = 1600;
/// Destination, source, type.
const ETHERNET_HEADER: usize = 14;

/// `struct ifreq` with flags, or with a pointer, in its union of 24 bytes.
#[repr(C)]
struct InterfaceRequest<T> {
    name: [u8; IFNAMSIZ],
    value: T,
}

#[repr(C)]
struct Flags {
    flags: i16,
    rest: [u8; 22],
}

#[repr(C)]
struct Pointer {
    data: *mut LinkSettings,
    rest: [u8; 16],
}

/// Words for link modes: the kernel has some 120 modes, so 4; room for 4 times that.
const MODE_WORDS: usize = 16;

/// `struct ethtool_link_settings` with its three lists of modes.
#[repr(C)]
struct LinkSettings {
    command: u32,
    speed: u32,
    duplex: u8,
    port: u8,
    address: u8,
    autoneg: u8,
    mdio_support: u8,
    eth_tp_mdix: u8,
    eth_tp_mdix_ctrl: u8,
    words: i8,
    transceiver: u8,
    master_slave_config: u8,
    master_slave_state: u8,
    rate_matching: u8,
    reserved: [u32; 7],
    modes: [u32; 3 * MODE_WORDS],
}

/// Where a packet socket listens: `struct sockaddr_ll`.
#[repr(C)]
struct LinkAddress {
    family: u16,
    /// Big-endian.
    protocol: u16,
    index: i32,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

// SAFETY: the pointer is to a whole `sockaddr_ll`, which lives through the call.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        const SIZE: SocketAddrLen = 20;
        const { assert!(size_of::<LinkAddress>() == 20) };
        f(std::ptr::from_ref(self).cast(), SIZE)
    }
}

fn padded(name: &str) -> Option<[u8; IFNAMSIZ]> {
    let mut padded = [0; IFNAMSIZ];
    // The last byte stays zero.
    padded
        .get_mut(..IFNAMSIZ - 1)?
        .get_mut(..name.len())?
        .copy_from_slice(name.as_bytes());
    Some(padded)
}

fn no_name() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the name is too long")
}

/// The highest speed in Mbit/s that an interface could have, whether or not there is a link;
/// `None` when the driver does not tell, as virtual ones.
#[must_use]
pub fn highest_speed(name: &str) -> Option<u32> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .ok()?;
    // The first call tells how many words the kernel has, as a negative number.
    let first = link_settings(&socket, name, 0)?;
    let words = usize::try_from(-i32::from(first.words)).ok()?;
    if words == 0 || words > MODE_WORDS {
        return None;
    }
    let settings = link_settings(&socket, name, -first.words)?;
    fastest(settings.modes.get(..words)?)
}

fn link_settings(socket: &OwnedFd, name: &str, words: i8) -> Option<LinkSettings> {
    let mut settings = LinkSettings {
        command: ETHTOOL_GLINKSETTINGS,
        speed: 0,
        duplex: 0,
        port: 0,
        address: 0,
        autoneg: 0,
        mdio_support: 0,
        eth_tp_mdix: 0,
        eth_tp_mdix_ctrl: 0,
        words,
        transceiver: 0,
        master_slave_config: 0,
        master_slave_state: 0,
        rate_matching: 0,
        reserved: [0; 7],
        modes: [0; 3 * MODE_WORDS],
    };
    let mut request = InterfaceRequest {
        name: padded(name)?,
        value: Pointer {
            data: &raw mut settings,
            rest: [0; 16],
        },
    };
    // SAFETY: this request takes an `ifreq` whose pointer is to an `ethtool_link_settings`.
    // The kernel writes as many words of modes as it is asked for, three times. They fit: it is
    // asked for none, or for as many as it said itself, at most `MODE_WORDS`.
    unsafe { ioctl(socket, Updater::<SIOCETHTOOL, _>::new(&mut request)) }.ok()?;
    Some(settings)
}

/// The highest speed among supported link modes. Bits: `enum ethtool_link_mode_bit_indices`.
fn fastest(words: &[u32]) -> Option<u32> {
    /// Speed in Mbit/s, and the first and last bit of a run of modes of that speed.
    const MODES: &[(u32, u32, u32)] = &[
        (10, 0, 1),
        (100, 2, 3),
        (1000, 4, 5),
        (10_000, 12, 12),
        (2500, 15, 15),
        (1000, 17, 17),
        (10_000, 18, 20),
        (20_000, 21, 22),
        (40_000, 23, 26),
        (56_000, 27, 30),
        (25_000, 31, 33),
        (50_000, 34, 35),
        (100_000, 36, 39),
        (50_000, 40, 40),
        (1000, 41, 41),
        (10_000, 42, 46),
        (2500, 47, 47),
        (5000, 48, 48),
        (50_000, 52, 56),
        (100_000, 57, 61),
        (200_000, 62, 66),
        (100, 67, 67),
        (1000, 68, 68),
        (400_000, 69, 73),
        (100_000, 75, 79),
        (200_000, 80, 84),
        (400_000, 85, 89),
        (100, 90, 91),
        (10, 92, 92),
        (800_000, 93, 98),
        (10, 99, 101),
        (200_000, 102, 106),
        (400_000, 107, 112),
        (800_000, 113, 118),
        (1_600_000, 119, 121),
    ];
    let has = |bit: u32| {
        let word = usize::try_from(bit / 32).ok().and_then(|at| words.get(at));
        word.is_some_and(|word| word & (1 << (bit % 32)) != 0)
    };
    MODES
        .iter()
        .filter(|(_, first, last)| (*first..=*last).any(has))
        .map(|(speed, _, _)| *speed)
        .max()
}

/// Frames by the name of their interface: the first that came, `None` when none did in time,
/// or why it could not be listened to.
pub type Frames = BTreeMap<String, io::Result<Option<Vec<u8>>>>;

/// Listens on interfaces, given by name and number, until each has heard one LLDP frame of
/// somebody else or the time is over. Blocks as long.
#[must_use]
pub fn listen(interfaces: &[(String, u32)], ours: &[Vec<u8>], timeout: Duration) -> Frames {
    let deadline = Instant::now() + timeout;
    let mut frames = Frames::new();
    let mut ears: Vec<LldpSocket> = Vec::new();
    for (name, index) in interfaces {
        match LldpSocket::open(name, *index) {
            Ok(ear) => ears.push(ear),
            Err(error) => {
                frames.insert(name.clone(), Err(error));
            }
        }
    }
    while !ears.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match wait(&ears, left) {
            Ok(ready) => {
                for at in ready.into_iter().rev() {
                    match ears[at].hear(ours) {
                        Ok(None) => {}
                        Ok(frame) => {
                            frames.insert(ears.swap_remove(at).name.clone(), Ok(frame));
                        }
                        Err(error) => {
                            frames.insert(ears.swap_remove(at).name.clone(), Err(error));
                        }
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "LLDP frames cannot be waited for");
                break;
            }
        }
    }
    for ear in &ears {
        frames.insert(ear.name.clone(), Ok(None));
    }
    frames
}

/// The positions of those that have heard something.
fn wait(ears: &[LldpSocket], left: Duration) -> io::Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = ears
        .iter()
        .map(|ear| PollFd::new(&ear.socket, PollFlags::IN))
        .collect();
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    poll(&mut polled, Some(&left))?;
    let ready = polled.iter().enumerate();
    Ok(ready
        .filter(|(_, fd)| !fd.revents().is_empty())
        .map(|(at, _)| at)
        .collect())
}

/// A socket that hears the LLDP frames of one interface, which takes all frames meanwhile.
struct LldpSocket {
    name: String,
    socket: OwnedFd,
    /// Whether the interface took all frames before.
    was_promiscuous: bool,
}

impl LldpSocket {
    fn open(name: &str, index: u32) -> io::Result<Self> {
        let protocol = std::num::NonZeroU32::new(u32::from(LLDP.to_be())).map(Protocol::from_raw);
        let socket = rustix::net::socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol,
        )?;
        let address = LinkAddress {
            family: AddressFamily::PACKET.as_raw(),
            protocol: LLDP.to_be(),
            index: i32::try_from(index).map_err(io::Error::other)?,
            hardware: 0,
            kind: 0,
            length: 0,
            address: [0; 8],
        };
        rustix::net::bind(&socket, &address)?;
        let was_promiscuous = promiscuous(&socket, name, true)?;
        Ok(Self {
            name: name.to_owned(),
            socket,
            was_promiscuous,
        })
    }

    /// A frame of another sender, if one came.
    fn hear(&self, ours: &[Vec<u8>]) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; MAX_FRAME_BYTES];
        match rustix::net::recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => {
                let frame = &buffer[..length];
                // Packet sockets hear also what this machine sends.
                let own = frame
                    .get(6..12)
                    .is_some_and(|source| ours.iter().any(|address| address == source));
                Ok((!own && length >= ETHERNET_HEADER).then(|| frame.to_vec()))
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for LldpSocket {
    fn drop(&mut self) {
        if !self.was_promiscuous
            && let Err(error) = promiscuous(&self.socket, &self.name, false)
        {
            tracing::warn!(interface = %self.name, %error, "it goes on taking all frames");
        }
    }
}

/// Lets an interface take all frames, or only its own; answers how it was.
fn promiscuous(socket: impl AsFd, name: &str, on: bool) -> io::Result<bool> {
    let mut request = InterfaceRequest {
        name: padded(name).ok_or_else(no_name)?,
        value: Flags {
            flags: 0,
            rest: [0; 22],
        },
    };
    // SAFETY: both requests take an `ifreq` with flags.
    unsafe {
        ioctl(
            socket.as_fd(),
            Updater::<SIOCGIFFLAGS, _>::new(&mut request),
        )
    }?;
    let was = request.value.flags & IFF_PROMISC != 0;
    if was != on {
        request.value.flags ^= IFF_PROMISC;
        // SAFETY: as above.
        unsafe {
            ioctl(
                socket.as_fd(),
                Updater::<SIOCSIFFLAGS, _>::new(&mut request),
            )
        }?;
    }
    Ok(was)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_mode_counts() {
        // 10 to 1000 Mbit/s over twisted pair, with autonegotiation.
        assert_eq!(fastest(&[0b0110_1111]), Some(1000));
        // 25 Gbit/s over copper (31), 100 Gbit/s over four lanes (36).
        assert_eq!(fastest(&[1 << 31, 1 << 4]), Some(100_000));
        // Only what the port is, and no speed.
        assert_eq!(fastest(&[1 << 6 | 1 << 7]), None);
        assert_eq!(fastest(&[]), None);
    }

    #[test]
    fn the_kernel_is_asked_in_its_own_layout() {
        assert_eq!(size_of::<InterfaceRequest<Flags>>(), 40);
        assert_eq!(size_of::<InterfaceRequest<Pointer>>(), 40);
        assert_eq!(size_of::<LinkSettings>(), 48 + 4 * 3 * MODE_WORDS);
        // Loopback has no speed.
        assert_eq!(highest_speed("lo"), None);
        assert_eq!(highest_speed("no-such-interface-at-all"), None);
    }

    /// Needs the right to open packet sockets, which root has.
    #[test]
    fn an_unusable_interface_does_not_stop_the_others() {
        let frames = listen(
            &[("lo".to_owned(), 1), ("none".to_owned(), 4_000_000)],
            &[],
            Duration::from_millis(1),
        );
        assert!(frames["none"].is_err());
        assert!(frames["lo"].is_err() || matches!(frames["lo"], Ok(None)));
    }
}

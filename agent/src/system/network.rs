//! What the kernel knows of network interfaces, asked over a route netlink socket: the
//! addresses, and the permanent hardware address, which no file shows.
//!
//! Message layouts: `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if_link.h`,
//! `linux/if_addr.h`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::ethernet::{self, Frames};

/// One network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLink {
    /// The kernel's number of it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address now; 6 bytes, or 20 on InfiniBand, or none.
    pub address: Vec<u8>,
    /// The hardware address that it was made with; empty when it has none (virtual
    /// interfaces, kernels before 5.6).
    pub permanent_address: Vec<u8>,
    /// Its IP addresses in the kernel's order.
    pub ip_addresses: Vec<IpAddr>,
}

/// Knows the network interfaces.
pub trait Network: fmt::Debug + Send + Sync {
    /// All interfaces, in the kernel's order. Blocks for less than a millisecond.
    ///
    /// # Errors
    /// What the kernel said.
    fn links(&self) -> io::Result<Vec<NetworkLink>>;

    /// The highest speed in Mbit/s that an interface could have; `None` when its driver does
    /// not tell.
    fn highest_speed(&self, name: &str) -> Option<u32>;

    /// The first LLDP frame that somebody else sends to each of these interfaces. Blocks until
    /// all have one, or `timeout` is over.
    fn lldp_frames(&self, interfaces: &[NetworkLink], timeout: Duration) -> Frames;
}

/// The network interfaces of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelNetwork;

impl Network for KernelNetwork {
    fn links(&self) -> io::Result<Vec<NetworkLink>> {
        let mut links = Vec::new();
        dump(RTM_GETLINK, |kind, body| {
            if kind == RTM_NEWLINK {
                links.extend(parse_link(body));
            }
        })?;
        dump(RTM_GETADDR, |kind, body| {
            if kind == RTM_NEWADDR
                && let Some((index, address)) = parse_address(body)
                && let Some(link) = links.iter_mut().find(|link| link.index == index)
            {
                link.ip_addresses.push(address);
            }
        })?;
        Ok(links)
    }

    fn highest_speed(&self, name: &str) -> Option<u32> {
        ethernet::highest_speed(name)
    }

    fn lldp_frames(&self, interfaces: &[NetworkLink], timeout: Duration) -> Frames {
        let ours: Vec<_> = self
            .links()
            .unwrap_or_default()
            .into_iter()
            .map(|link| link.address)
            .filter(|address| !address.is_empty())
            .collect();
        let numbered: Vec<_> = interfaces
            .iter()
            .map(|link| (link.name.clone(), link.index))
            .collect();
        ethernet::listen(&numbered, &ours, timeout)
    }
}

/// The name of the interface with this number.
pub fn interface_by_index(index: u32) -> Option<String> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::index_to_name(socket, index).ok()
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Asks for all objects of a kind and hands over each message.
fn dump(request: u16, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    // Protocol 0 of this family is the route protocol.
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The kernel answers a dump with what fits the receiver, 32 KiB at most; a message
    // header of 16 bytes and an `ifinfomsg` of 16 ask for all families.
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.resize(32, 0);
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &kernel)?;

    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        for (kind, body) in messages(&buffer[..length]) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body
                        .first_chunk()
                        .map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(-code));
                }
                kind => each(kind, body),
            }
        }
    }
}

/// Kind and body of each message. Stops at what is cut short.
fn messages(mut buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*buffer.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        let kind = u16::from_ne_bytes(*buffer.get(4..6)?.first_chunk()?);
        let body = buffer.get(HEADER..length)?;
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Kind and value of each attribute. Stops at what is cut short.
fn attributes(mut buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Marks of nesting and byte order above the kind.
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*buffer.first_chunk()?));
        let kind = u16::from_ne_bytes(*buffer.get(2..4)?.first_chunk()?) & KIND;
        let value = buffer.get(4..length)?;
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// An `ifinfomsg` (16 bytes, the index at 4) and its attributes.
fn parse_link(body: &[u8]) -> Option<NetworkLink> {
    let mut link = NetworkLink {
        index: u32::from_ne_bytes(*body.get(4..8)?.first_chunk()?),
        ..NetworkLink::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => {
                let text = value.strip_suffix(&[0]).unwrap_or(value);
                link.name = String::from_utf8_lossy(text).into_owned();
            }
            IFLA_ADDRESS => link.address = value.to_vec(),
            IFLA_PERM_ADDRESS => link.permanent_address = value.to_vec(),
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

/// An `ifaddrmsg` (8 bytes: the family at 0, the index at 4) and its attributes.
fn parse_address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let family = *body.first()?;
    let index = u32::from_ne_bytes(*body.get(4..8)?.first_chunk()?);
    let mut address = None;
    for (kind, value) in attributes(body.get(8..)?) {
        // On a point-to-point link IFA_ADDRESS is the other end, and IFA_LOCAL is ours.
        if kind == IFA_LOCAL || kind == IFA_ADDRESS && address.is_none() {
            address = match family {
                AF_INET => value.first_chunk::<4>().map(|b| Ipv4Addr::from(*b).into()),
                AF_INET6 => value.first_chunk::<16>().map(|b| Ipv6Addr::from(*b).into()),
                _ => None,
            };
        }
    }
    Some((index, address?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn reads_a_link_with_both_hardware_addresses() {
        let mut body = vec![0; 16];
        body[4] = 7;
        body.extend(attribute(IFLA_IFNAME, b"enp0s2\0"));
        body.extend(attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]));
        body.extend(attribute(IFLA_PERM_ADDRESS, &[0x52, 0x54, 0, 0, 0, 1]));
        let link = parse_link(&body).unwrap();
        assert_eq!((link.index, link.name.as_str()), (7, "enp0s2"));
        assert_eq!(link.address, [2, 0, 0, 0, 0, 1]);
        assert_eq!(link.permanent_address, [0x52, 0x54, 0, 0, 0, 1]);
    }

    #[test]
    fn reads_our_end_of_a_point_to_point_link() {
        let mut body = vec![AF_INET, 32, 0, 0, 3, 0, 0, 0];
        body.extend(attribute(IFA_ADDRESS, &[10, 0, 0, 1]));
        body.extend(attribute(IFA_LOCAL, &[10, 0, 0, 2]));
        assert_eq!(parse_address(&body), Some((3, "10.0.0.2".parse().unwrap())));

        let mut body = vec![AF_INET6, 64, 0, 0, 4, 0, 0, 0];
        let address: Ipv6Addr = "fd00::101".parse().unwrap();
        body.extend(attribute(IFA_ADDRESS, &address.octets()));
        assert_eq!(parse_address(&body), Some((4, address.into())));
    }

    #[test]
    fn asks_this_kernel() {
        let links = KernelNetwork.links().unwrap();
        let loopback = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(loopback.index, 1);
    }

    proptest! {
        #[test]
        fn nonsense_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, body) in messages(&bytes).take(1000) {
                parse_link(body);
                parse_address(body);
            }
        }
    }
}

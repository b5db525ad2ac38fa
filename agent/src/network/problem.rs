//! What is wrong with the configuration of the network. The boot goes on with the rest.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::Arc;

use ironic_text::error_chain;
use thiserror::Error;

/// An error of any kind that a problem has as its cause. Two that read the same are the same.
#[derive(Debug, Clone, Error)]
#[error(transparent)]
pub(super) struct ProblemCause(Arc<dyn StdError + Send + Sync>);

impl ProblemCause {
    pub(super) fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl PartialEq for ProblemCause {
    fn eq(&self, other: &Self) -> bool {
        error_chain(self) == error_chain(other)
    }
}

impl Eq for ProblemCause {}

/// A document that is JSON and no object.
#[derive(Debug, Error)]
#[error("it is not a JSON object")]
pub(super) struct NotAnObject;

/// What was asked for and is not done, or not as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum NetworkProblem {
    /// A source cannot be read at all.
    #[error("{location} cannot be read: {}; it is left out", error_chain(source))]
    Unreadable {
        /// The source.
        location: String,
        /// What is wrong.
        source: ProblemCause,
    },
    /// A field has a value that it cannot have.
    #[error("{location}: {field} is {value:?}, expected {expected}; it is left out")]
    Value {
        /// The item.
        location: String,
        /// The field of it.
        field: &'static str,
        /// What is there.
        value: String,
        /// What may be there.
        expected: &'static str,
    },
    /// A bond has an option that the kernel's driver does not know, or not with this value.
    #[error(
        "{location}: {option:?} is no option of a bond, or has a value that it cannot have; the bond is made without it"
    )]
    BondOption {
        /// The bond.
        location: String,
        /// The option.
        option: String,
    },
    /// Two items have one name.
    #[error("{location}: there is one with the same {field} before it; the first counts")]
    Twice {
        /// The second.
        location: String,
        /// What both have.
        field: &'static str,
    },
    /// Another item is named that is not there.
    #[error("{location}: {field} names {id:?}, and there is no such link; it is left out")]
    UnknownLink {
        /// The item that names it.
        location: String,
        /// The field.
        field: &'static str,
        /// The name.
        id: String,
    },
    /// A route to an address, where a network has to stand: the kernel takes none.
    #[error("{location}: {written} is no network; the route leads to {network}")]
    HostBits {
        /// The item.
        location: String,
        /// What was asked for.
        written: String,
        /// What is taken.
        network: String,
    },
    /// A parameter that other ramdisks know.
    #[error("{parameter} is not known to this ramdisk and is ignored; {instead}")]
    NotKnown {
        /// The parameter.
        parameter: String,
        /// What to do.
        instead: &'static str,
    },
    /// A card is asked for that is not there; it may come.
    #[error("{location}: there is no card {selector}; there are {cards}")]
    NoCard {
        /// The item.
        location: String,
        /// How the card is named.
        selector: String,
        /// The cards that are there.
        cards: String,
    },
    /// A bond has no member yet, or misses one.
    #[error("{location}: {missing} of {wanted} members are not there")]
    Members {
        /// The bond.
        location: String,
        /// How many are not there.
        missing: usize,
        /// How many there shall be.
        wanted: usize,
    },
    /// What a VLAN is on is not there.
    #[error("{location}: {parent:?}, which it is on, is not there")]
    NoParent {
        /// The VLAN.
        location: String,
        /// What it is on.
        parent: String,
    },
    /// Two sources, or two links, want the same card.
    #[error("{location}: {name} is used by {by} already; it is left out")]
    Taken {
        /// The second.
        location: String,
        /// The card.
        name: String,
        /// The first.
        by: String,
    },
    /// A member of a bond has addresses of its own, which could not work.
    #[error("{location}: {name} is a member of a bond and gets no address of its own")]
    MemberAddress {
        /// The link.
        location: String,
        /// The card.
        name: String,
    },
    /// A gateway that cannot be reached from the addresses of its interface. The route is made.
    #[error(
        "{location}: the gateway {gateway} is in none of the interface's networks; it is used all the same"
    )]
    FarGateway {
        /// The item.
        location: String,
        /// The gateway.
        gateway: IpAddr,
    },
    /// IPv6 is asked for and the kernel has it switched off.
    #[error(
        "{location}: IPv6 is asked for, and the kernel runs without it (ipv6.disable); it is left out"
    )]
    Ipv6IsOff {
        /// The item.
        location: String,
    },
    /// More than one config drive could be meant.
    #[error("config drives {devices}: the first is read, the others are ignored")]
    SeveralConfigDrives {
        /// Their devices.
        devices: String,
    },
    /// The medium that the kernel command line announces did not come.
    #[error(
        "ir_pub_id={publisher}: no virtual medium with this publisher came in {seconds} s; every card asks for a lease"
    )]
    NoConfigDrive {
        /// The identity that was looked for.
        publisher: String,
        /// How long it was looked for.
        seconds: u64,
    },
    /// A program or the kernel refused.
    #[error("{interface}: {}", error_chain(source))]
    Refused {
        /// The interface.
        interface: String,
        /// The command and what was said.
        source: ProblemCause,
    },
}

//! The network of the ramdisk: what every interface gets, and why.
//!
//! Two sources ask for something: `network_data.json` on a config drive or on virtual media
//! ([`network_data`], found by [`config_drive`]), and the parameters of the kernel command line
//! ([`kernel_parameters`]). [`plan`] is a pure function: given what was asked for and the cards
//! that are there, it says which interfaces there shall be and how each gets its addresses. [`commands`]
//! turns that into command lines of `ip` and of the DHCP client, [`bring_up`] runs them, again
//! for every card that comes late, and [`report`] says on the console what came of it.

mod address;
mod bond;
mod bring_up;
mod card;
mod client;
mod commands;
mod config_drive;
mod kernel_parameters;
mod network_data;
mod plan;
mod problem;
mod report;
mod request;
mod state;

pub use bring_up::{BringUp, BringUpError};

//! Finds `network_data.json`. Ironic puts it onto the virtual medium that the machine boots from,
//! and writes an identity both there, as the publisher of the ISO 9660, and into the kernel command
//! line, as `ir_pub_id=`: a config drive on a disk of the machine, which its last tenant left there,
//! says nothing of the ramdisk's network.

use std::time::Duration;

use ironic_options::Parameters;

use super::network_data;
use super::problem::{NetworkProblem, ProblemCause};
use super::request::NetworkRequest;
use crate::disk::virtual_media::{self, MediaDrive};
use crate::system::System;

/// Of a config drive.
const LABEL: &str = "config-2";
const FILE: &str = "openstack/latest/network_data.json";
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The name of the program that mounts the medium. It keeps programs apart that do so at the
/// same time.
const PROGRAM: &str = "network";
/// How long a medium is waited for that the kernel command line announces: a BMC's drive may take a
/// while to show up. ironic-python-agent-builder waits as long.
pub(super) const MEDIUM_TIMEOUT: Duration = Duration::from_secs(30);

/// Which medium is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MediumSearch {
    /// None: the machine was booted from the network, where Ironic gives no static network.
    No,
    /// One with this publisher, which will come.
    Announced(String),
    /// A config drive without a publisher, if there is one now.
    Present,
}

impl MediumSearch {
    /// The rule of ironic-python-agent-builder, but for drives that no BMC plays.
    pub(super) fn of(parameters: &Parameters) -> Self {
        let publisher = parameters.get("ir_pub_id").unwrap_or_default();
        match (publisher, parameters.get("BOOTIF")) {
            ("", Some(_)) => Self::No,
            ("", None) => Self::Present,
            (publisher, _) => Self::Announced(publisher.to_owned()),
        }
    }

    /// The media that are meant, of those that are there.
    fn matching<'a>(&self, media: &'a [MediaDrive]) -> Vec<&'a MediaDrive> {
        let is_meant = |medium: &&MediaDrive| match self {
            Self::No => false,
            Self::Announced(publisher) => medium.publisher.eq_ignore_ascii_case(publisher),
            Self::Present => {
                medium.publisher.is_empty() && medium.label.eq_ignore_ascii_case(LABEL)
            }
        };
        media.iter().filter(is_meant).collect()
    }

    /// Whether there is something to wait for.
    pub(super) fn is_announced(&self) -> bool {
        matches!(self, Self::Announced(_))
    }

    /// What is wrong when the medium did not come.
    pub(super) fn missing(&self) -> Option<NetworkProblem> {
        let Self::Announced(publisher) = self else {
            return None;
        };
        Some(NetworkProblem::NoConfigDrive {
            publisher: publisher.clone(),
            seconds: MEDIUM_TIMEOUT.as_secs(),
        })
    }
}

/// What the medium asks for; `None` when it is not there. A medium without the file asks for
/// nothing.
pub(super) async fn look(system: &System, search: &MediumSearch) -> Option<NetworkRequest> {
    let media = virtual_media::probe(system);
    let meant = search.matching(&media);
    let medium = meant.first()?;
    let read = virtual_media::read_text(system, medium, PROGRAM, (FILE, MAX_FILE_BYTES)).await;
    let mut request = match read {
        Ok(Some(text)) => network_data::parse(&text),
        Ok(None) => NetworkRequest::default(),
        Err(error) => NetworkRequest {
            problems: vec![NetworkProblem::Unreadable {
                location: format!("{FILE} of {}", medium.device),
                source: ProblemCause::new(error),
            }],
            ..NetworkRequest::default()
        },
    };
    if meant.len() > 1 {
        let devices: Vec<_> = meant.iter().map(|medium| medium.device.as_str()).collect();
        request.problems.push(NetworkProblem::SeveralConfigDrives {
            devices: devices.join(" and "),
        });
    }
    Some(request)
}

#[cfg(test)]
mod tests;

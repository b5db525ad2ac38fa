//! Finding a partner for the network's burn-in through a coordination service: machines of one
//! group meet two by two.
//!
//! The rules, and the nodes, are those of the Python agent over ZooKeeper, so that both kinds
//! of agents may meet: the owner of the lock looks who is in the group and enters. The first
//! one is the writer; it lets go of the lock, waits for a second one, and leaves. The second
//! one is the reader; it keeps the lock until the first one has left, so that no third one
//! comes between them.

use std::net::IpAddr;
use std::time::Duration;

use super::error::{BurnInError, PairingError};
use super::options::{option, option_or};
use super::role::FioRole;
use crate::hardware::StepContext;
use crate::machine::hostname;
use crate::machine::ironic_node::Node;
use crate::system::coordination::{CoordinationError, CoordinationSession, NodeLifetime};

const SCHEMES: [&str; 2] = ["zookeeper://", "kazoo://"];
const ROOT: &str = "/tooz";
const LOCKS: &str = "/tooz/locks";
const LOCK: &str = "/tooz/locks/group_lock";
/// What stands in a lock's name before its number.
const NUMBER_MARK: &str = "__lock__";
/// How often the group and the lock are looked at.
const PERIOD: Duration = Duration::from_millis(500);

/// How a partner is to be found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pairing {
    servers: String,
    group: String,
    timeout: Duration,
}

impl Pairing {
    /// What the node says; `None` when it names no service.
    pub(super) fn of(node: &Node) -> Result<Option<Self>, PairingError> {
        let Some(url) = option(node, "fio_network_pairing_backend_url") else {
            return Ok(None);
        };
        let mut rests = SCHEMES.iter().filter_map(|scheme| url.strip_prefix(scheme));
        let servers = rests.next().and_then(|rest| rest.split(['/', '?']).next());
        let Some(servers) = servers.filter(|servers| !servers.is_empty()) else {
            return Err(PairingError::Url { url });
        };
        let group = option_or(
            node,
            "fio_network_pairing_group_name",
            "ironic.network-burnin",
        );
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !group.chars().all(plain) || group.chars().all(|c| c == '.') || group == "locks" {
            return Err(PairingError::Group { group });
        }
        let value = option_or(node, "fio_network_pairing_timeout", "900");
        let Ok(seconds) = value.parse() else {
            return Err(PairingError::Timeout { value });
        };
        Ok(Some(Self {
            servers: servers.to_owned(),
            group,
            timeout: Duration::from_secs(seconds),
        }))
    }

    /// One line for the plan.
    pub(super) fn description(&self) -> String {
        let Self { group, servers, .. } = self;
        format!("Find a partner in the group {group} through ZooKeeper at {servers}")
    }

    /// Meets a partner. The session ends in any case, and with it what it left behind.
    pub(super) async fn find(
        &self,
        ctx: StepContext<'_>,
    ) -> Result<(FioRole, String), BurnInError> {
        let system = ctx.system;
        let session = system.coordination.open(&self.servers).await;
        let mut session = session.map_err(PairingError::NoSession)?;
        // An address needs no name service to be reached, but fio takes only those of IPv4.
        let own = match session.own_address() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(_) => hostname(system),
        };
        let group = || self.group.clone();
        let found = tokio::select! {
            met = meet(session.as_mut(), &self.group, &own) => match met {
                Ok(Some(found)) => Ok(found),
                Ok(None) => Err(PairingError::Crowded { group: group() }.into()),
                Err(error) => Err(PairingError::Session(error).into()),
            },
            () = tokio::time::sleep(self.timeout) => Err(PairingError::TimedOut {
                group: group(),
                seconds: self.timeout.as_secs(),
            }
            .into()),
            () = ctx.task.cancelled() => Err(ctx.task.cancellation().into()),
        };
        session.close().await;
        if let Ok((role, partner)) = &found {
            ctx.task
                .phase_ended(format!("{own} is {} first, with {partner}", role.word()));
        }
        found
    }
}

/// `None` when the group is not one of two.
async fn meet(
    session: &mut dyn CoordinationSession,
    group: &str,
    own: &str,
) -> Result<Option<(FioRole, String)>, CoordinationError> {
    let group = format!("{ROOT}/{group}");
    let member = format!("{group}/{own}");
    for path in [ROOT, &group, LOCKS, LOCK] {
        match session.create(path, NodeLifetime::Lasting).await {
            Ok(_) | Err(CoordinationError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let lock = lock(session).await?;
    let mut before = session.children(&group).await?;
    // Of a session of ours that died a moment ago: the server lets it go by itself.
    while before.iter().any(|name| name == own) {
        tokio::time::sleep(PERIOD).await;
        before = session.children(&group).await?;
    }
    session.create(&member, NodeLifetime::OfSession).await?;
    let found = match before.as_slice() {
        [] => {
            session.delete(&lock).await?;
            let mut members = session.children(&group).await?;
            while members.len() < 2 {
                tokio::time::sleep(PERIOD).await;
                members = session.children(&group).await?;
            }
            members.retain(|name| name != own);
            match members.as_slice() {
                [partner] => Some((FioRole::Writer, partner.clone())),
                _ => None,
            }
        }
        [partner] => {
            while session.children(&group).await?.contains(partner) {
                tokio::time::sleep(PERIOD).await;
            }
            Some((FioRole::Reader, partner.clone()))
        }
        _ => None,
    };
    session.delete(&member).await?;
    if found
        .as_ref()
        .is_some_and(|(role, _)| *role == FioRole::Reader)
    {
        session.delete(&lock).await?;
    }
    Ok(found)
}

/// Waits for the lock: it belongs to the one with the lowest number. Answers our node of it.
async fn lock(session: &mut dyn CoordinationSession) -> Result<String, CoordinationError> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let ours = format!("{LOCK}/{unique}{NUMBER_MARK}");
    let ours = session
        .create(&ours, NodeLifetime::OfSessionNumbered)
        .await?;
    loop {
        let waiting = session.children(LOCK).await?;
        let first = waiting.iter().min_by_key(|name| number(name));
        match first {
            Some(first) if ours.ends_with(first.as_str()) => return Ok(ours),
            _ => tokio::time::sleep(PERIOD).await,
        }
    }
}

fn number(name: &str) -> &str {
    name.rsplit_once(NUMBER_MARK)
        .map_or(name, |(_, number)| number)
}

#[cfg(test)]
mod tests;

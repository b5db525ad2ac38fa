//! What is hard about the API, in Rust: what the packages in `clients/` do for Python and
//! TypeScript. A watch that goes on after a broken connection, and a command that is executed
//! once however often it is repeated.

mod kept;
mod node;
mod watch;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use kept::KeptOrders;
pub(crate) use node::AgentNode;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};
use tonic_types::StatusExt;
pub(crate) use watch::watch;

pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// How long attempts to reach a node or a gateway may fail.
const RETRY_TIMEOUT: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(500);

/// Without a reason these say that the call has broken off.
const BROKEN: [Code; 6] = [
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Cancelled,
    Code::Aborted,
    Code::Unknown,
    Code::Internal,
];
const TRANSIENT: [&str; 7] = [
    "GATEWAY_STOPPING",
    "NODE_AWAY",
    "NODE_ELSEWHERE",
    "NODE_LOST",
    "TOO_MANY_WAITING",
    "TOO_MANY_WATCHERS",
    "WATCHER_SLOW",
];

/// The reason of an error, or nothing.
fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

/// Whether the same call may succeed later.
fn is_transient(status: &Status) -> bool {
    match reason(status).as_str() {
        "" => BROKEN.contains(&status.code()),
        reason => TRANSIENT.contains(&reason),
    }
}

/// Waits before the next attempt. A final error is answered, and any after `RETRY_TIMEOUT`.
async fn pause(status: Status, lost_at: &mut Option<Instant>) -> Result<(), Status> {
    let lost_at = *lost_at.get_or_insert_with(Instant::now);
    if !is_transient(&status) || lost_at.elapsed() > RETRY_TIMEOUT {
        return Err(status);
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

/// A gateway, and what is kept of the orders that were given through it.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) channel: Channel,
    orders: KeptOrders,
}

impl Gateway {
    /// A node of it.
    pub(crate) fn node(&self, uuid: String) -> AgentNode {
        AgentNode {
            channel: self.channel.clone(),
            uuid,
            orders: self.orders.clone(),
        }
    }
}

/// The gateway, with mutual TLS where the options name the files. What becomes of the orders is
/// kept in the file of --state, or beside the file of deployments.
pub(crate) fn connect(options: &BTreeMap<String, String>) -> Result<Gateway, AnyError> {
    let gateway = options.get("--gateway").ok_or("--gateway is missing")?;
    let mut endpoint =
        Endpoint::from_shared(gateway.clone())?.http2_keep_alive_interval(Duration::from_secs(20));
    if gateway.starts_with("https:") {
        let read = |option: &str| -> Result<Vec<u8>, AnyError> {
            let path = options.get(option).ok_or(format!("{option} is missing"))?;
            Ok(fs::read(path)?)
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read("--ca")?))
            .identity(Identity::from_pem(read("--cert")?, read("--key")?));
        endpoint = endpoint.tls_config(tls)?;
    }
    let file = options.get("file").map_or("", String::as_str);
    let beside = format!("{file}.orders");
    let state = options.get("--state").unwrap_or(&beside);
    Ok(Gateway {
        channel: endpoint.connect_lazy(),
        orders: KeptOrders::read(state.into())?,
    })
}

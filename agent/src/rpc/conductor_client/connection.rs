//! The one connection to the conductor that all calls share.

use std::net::IpAddr;
use std::time::Duration;

use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::identity_service_client::IdentityServiceClient;
use ironic_transport::grpc::{ClientTls, Dialer, InvalidEndpoint};
use ironic_transport::{Endpoint, Endpoints};
use ironic_tunnel::{GrpcChannel, Pings};
use rand::seq::SliceRandom;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::MAX_MESSAGE_BYTES;
use super::error::ConductorCallError;

/// The timeout for TCP, TLS and HTTP/2 together. Long, because a shim that ten thousand agents
/// dial at once is slow, and every handshake that is given up costs it another one.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Not more often than every 20 s: proxies answer faster pings with GOAWAY.
const PINGS: Pings = Pings::Every {
    period: Duration::from_secs(25),
    timeout: Duration::from_secs(20),
};

/// An open connection.
#[derive(Debug, Clone)]
pub(super) struct OpenConnection {
    pub(super) client: ConductorServiceClient<GrpcChannel>,
    pub(super) identity: IdentityServiceClient<GrpcChannel>,
    channel: GrpcChannel,
    /// Cancelled when the conductor is draining: sessions on this connection go elsewhere.
    retired: CancellationToken,
    /// Which of all connections of this process.
    number: usize,
    /// Where it leads to.
    endpoint: Endpoint,
}

impl OpenConnection {
    /// Cancelled when the conductor is draining.
    pub(super) fn retired(&self) -> CancellationToken {
        self.retired.clone()
    }

    /// Sessions on this connection end between two beats, and are opened again elsewhere.
    pub(super) fn retire(&self) {
        self.retired.cancel();
    }
}

/// The connection, made when it is used and made anew when it has ended.
#[derive(Debug)]
pub(super) struct Connections {
    dialers: Vec<Dialer>,
    state: Mutex<ConductorConnectionState>,
}

#[derive(Debug, Default)]
struct ConductorConnectionState {
    current: Option<OpenConnection>,
    /// The address that is tried last: a call over it has just failed.
    avoided: Option<Endpoint>,
    /// How many connections this process has made.
    made: usize,
}

impl Connections {
    pub(super) fn new(endpoints: &Endpoints, tls: &ClientTls) -> Result<Self, InvalidEndpoint> {
        let dialers = endpoints.all().iter();
        let dialers = dialers.map(|endpoint| Dialer::with(endpoint, tls));
        Ok(Self {
            dialers: dialers.collect::<Result<_, _>>()?,
            state: Mutex::default(),
        })
    }

    /// The connection, made now if it is not open.
    pub(super) async fn get(&self) -> Result<OpenConnection, ConductorCallError> {
        // Calls that come together share one handshake.
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.current
            && !connection.channel.is_closed()
        {
            return Ok(connection.clone());
        }
        let connection = self.dial(&state).await?;
        state.made += 1;
        state.current = Some(connection.clone());
        Ok(connection)
    }

    /// The next call makes a new connection; calls that run go on.
    pub(super) async fn renew(&self) {
        self.state.lock().await.current = None;
    }

    /// The address from which this machine reaches the conductor; `None` if there is no route.
    pub(super) async fn source_address(&self) -> Option<IpAddr> {
        for dialer in &self.dialers {
            if let Ok(Some(address)) = dialer.source_address().await {
                return Some(address);
            }
        }
        None
    }

    /// No call takes this connection from now on; those that run go on.
    pub(super) async fn condemn(&self, connection: &OpenConnection) {
        let mut state = self.state.lock().await;
        let current = state.current.as_ref();
        if current.is_some_and(|current| current.number == connection.number) {
            state.current = None;
        }
        state.avoided = Some(connection.endpoint.clone());
    }

    /// Tries the addresses in random order, so that a fleet spreads over its gateways.
    async fn dial(
        &self,
        state: &ConductorConnectionState,
    ) -> Result<OpenConnection, ConductorCallError> {
        let mut order: Vec<&Dialer> = self.dialers.iter().collect();
        order.shuffle(&mut rand::rng());
        order.sort_by_key(|dialer| Some(dialer.endpoint()) == state.avoided.as_ref());
        let mut last = ConductorCallError::Ended;
        for dialer in order {
            match dial_one(dialer, state.made).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn dial_one(dialer: &Dialer, number: usize) -> Result<OpenConnection, ConductorCallError> {
    let opening = async {
        let timeout = DIAL_TIMEOUT;
        let socket = dialer.dial(timeout, |addresses| addresses.shuffle(&mut rand::rng()));
        ironic_tunnel::connect(socket.await?, PINGS).await
    };
    let opened = tokio::time::timeout(DIAL_TIMEOUT, opening).await;
    let opened = opened.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let (channel, driver) = opened.map_err(|source| ConductorCallError::Dial {
        conductor: dialer.endpoint().clone(),
        source,
    })?;
    tokio::spawn(driver);
    let client = ConductorServiceClient::with_origin(channel.clone(), dialer.authority())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let identity = IdentityServiceClient::with_origin(channel.clone(), dialer.authority());
    Ok(OpenConnection {
        client,
        identity,
        channel,
        retired: CancellationToken::new(),
        number,
        endpoint: dialer.endpoint().clone(),
    })
}

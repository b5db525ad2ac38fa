//! The connection to a gateway or to an agent.
//!
//! [`ControlChannel`] is connected when it is made, so that a wrong address or certificate is said
//! before anything is ordered. It connects again by itself when it breaks.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_agent_protocol::v1::join_token_service_client::JoinTokenServiceClient;
use ironic_text::Secret;
use ironic_transport::Endpoint;
use ironic_transport::grpc::{ClientTls, Dialer, InvalidEndpoint, TlsFiles, TlsOptionNames};
use thiserror::Error;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Uri};
use tonic::{Request, Status};

use crate::exit_kind::ExitKind;

mod call;
mod certificate;
mod lost;
mod observed;

pub(crate) use call::CallFailure;
pub(crate) use certificate::{CertificateDatesError, check_dates};
pub(crate) use lost::LostConnection;
use observed::{ObservedFailure, ObservedSocket, TransportProblem};

/// The keys of a context that name files, which are also the options of `login`.
pub(crate) const CONTEXT_FILES: TlsOptionNames = TlsOptionNames {
    certificate: "certificate_file",
    key: "key_file",
    authorities: "ca_file",
};

/// The metadata key that says which node a call is for.
const NODE: &str = "node-uuid";
/// The metadata key of the agent token.
const TOKEN: &str = "agent-token";

/// A peer that does not answer a ping for this long is gone.
const PING_PERIOD: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer: records of commands may hold inventories and config drives.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// The address or the files make no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidEndpoint),
    /// The certificate of the caller cannot be used now.
    #[error(transparent)]
    Dates(#[from] CertificateDatesError),
    /// The token has characters that a header cannot have.
    #[error("{0} holds no agent token: expected one line of printable characters")]
    Token(PathBuf),
    /// The file of the token cannot be read.
    #[error("cannot read the agent token in {path}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS came to no agreement.
    #[error("{address}: {problem}")]
    Tls {
        /// The address.
        address: String,
        /// What it was.
        problem: TransportProblem,
    },
    /// Nobody answers.
    #[error("{address} does not answer")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

impl ConnectError {
    /// The kind of failure.
    pub(crate) fn kind(&self) -> ExitKind {
        match self {
            Self::Invalid(InvalidEndpoint::Url(_)) => ExitKind::Usage,
            Self::Invalid(_) | Self::Token(_) | Self::TokenFile { .. } => ExitKind::Configuration,
            Self::Dates(error) => error.kind(),
            Self::Tls { problem, .. } => problem.kind(),
            Self::Unreachable { .. } => ExitKind::Unreachable,
        }
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::Invalid(_) => "`agentctl login` writes a context anew".to_owned(),
            Self::Dates(error) => error.advice(),
            Self::Token(_) | Self::TokenFile { .. } => {
                "name the file by --agent-token-file".to_owned()
            }
            Self::Tls { problem, .. } => problem.advice(),
            Self::Unreachable { .. } => "look at the address (`agentctl contexts`), at the \
                                         gateway's fleet_listen and at firewalls between"
                .to_owned(),
        }
    }
}

/// Whom a channel leads to.
#[derive(Debug, Clone)]
enum ChannelPeer {
    /// A gateway, whose calls name a node.
    Gateway,
    /// One agent, with its token.
    Agent(Option<AsciiMetadataValue>),
}

/// A connection to a gateway or to an agent. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ControlChannel {
    channel: Channel,
    peer: ChannelPeer,
    /// The address, for errors.
    address: String,
    timeout: Duration,
    observed: ObservedFailure,
}

impl ControlChannel {
    /// Connects to a gateway.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) async fn gateway(
        endpoint: &Endpoint,
        files: TlsFiles,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        if let Some(certificate) = &files.certificate {
            check_dates(certificate)?;
        }
        Self::connect(endpoint, files, ChannelPeer::Gateway, timeout).await
    }

    /// Connects to one agent.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) async fn agent(
        endpoint: &Endpoint,
        files: TlsFiles,
        token: Option<(PathBuf, Secret)>,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let token = token.map(|(path, token)| {
            let value = token.reveal().parse::<AsciiMetadataValue>();
            value.map_err(|_| ConnectError::Token(path))
        });
        Self::connect(
            endpoint,
            files,
            ChannelPeer::Agent(token.transpose()?),
            timeout,
        )
        .await
    }

    async fn connect(
        endpoint: &Endpoint,
        files: TlsFiles,
        peer: ChannelPeer,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let tls = ClientTls {
            files,
            options: CONTEXT_FILES,
            ..ClientTls::default()
        };
        let dialer = Dialer::with(endpoint, &tls)?;
        let observed = ObservedFailure::default();
        let transport = Channel::builder(dialer.authority())
            .http2_keep_alive_interval(PING_PERIOD)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        let noted = observed.clone();
        let is_tls = matches!(endpoint, Endpoint::Https(_));
        let connector = tower::service_fn(move |_: Uri| {
            let (dialer, noted) = (dialer.clone(), noted.clone());
            async move {
                let dialed = dialer.dial(timeout, |_| ()).await;
                let socket = dialed.inspect_err(|error| noted.note(error))?;
                Ok::<_, std::io::Error>(TokioIo::new(ObservedSocket::new(socket, is_tls, noted)))
            }
        });
        let address = endpoint.to_string();
        let connected = transport.connect_with_connector(connector).await;
        let channel = connected.map_err(|source| match observed.take() {
            Some(problem) => ConnectError::Tls {
                address: address.clone(),
                problem,
            },
            None => ConnectError::Unreachable {
                address: address.clone(),
                source,
            },
        })?;
        Ok(Self {
            channel,
            peer,
            address,
            timeout,
            observed,
        })
    }

    /// Whether this leads to one agent, and not to a gateway.
    pub(crate) fn is_agent(&self) -> bool {
        matches!(self.peer, ChannelPeer::Agent(_))
    }

    /// The address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The nodes of the gateway.
    pub(crate) fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// The commands of a node.
    pub(crate) fn commands(&self) -> CommandServiceClient<Channel> {
        CommandServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// The join tokens of the gateway.
    pub(crate) fn join_tokens(&self) -> JoinTokenServiceClient<Channel> {
        JoinTokenServiceClient::new(self.channel.clone())
    }

    /// A call that is answered within `--timeout`.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// The same of one node, by its UUID.
    pub(crate) fn of_node<T>(&self, uuid: &str, message: T) -> Request<T> {
        let mut request = self.stream_of_node(uuid, message);
        request.set_timeout(self.timeout);
        request
    }

    /// A call of one node that lasts.
    pub(crate) fn stream_of_node<T>(&self, uuid: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        match &self.peer {
            ChannelPeer::Gateway => {
                // A UUID fits into a header. The gateway refuses a call without one.
                if let Ok(value) = uuid.parse() {
                    metadata.insert(NODE, value);
                }
            }
            ChannelPeer::Agent(Some(token)) => {
                metadata.insert(TOKEN, token.clone());
            }
            ChannelPeer::Agent(None) => {}
        }
        request
    }

    /// What a status means.
    pub(crate) fn failure(&self, status: Status) -> CallFailure {
        let problem = self.observed.take();
        CallFailure::new(status, &self.address, problem)
    }
}

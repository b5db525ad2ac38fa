//! The options of several gateways: read, checked, and put to use.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ironic_transport::tls::{TlsSettings, TlsSettingsError, client_config};
use ironic_transport::{Endpoint, Listen, Sha256Digest};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

use super::Peers;
use super::directory::credentials::{DirectoryCredentials, DirectoryCredentialsError};
use super::directory::nats::{NatsDirectory, NatsError, NatsSettings};
use super::listener::NodeHandler;
use super::tls::{PeerTls, PeerTlsError, PeerTlsFiles};
use super::wire::Presence;
use crate::agents::AgentRegistry;
use crate::config::ShimConfig;

/// Why several gateways cannot share their nodes.
#[derive(Debug, Error)]
pub enum PeersError {
    /// One option is given without another one.
    #[error("option {given} needs option {missing} beside it")]
    Missing {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// Other gateways speak TCP.
    #[error("option peer_listen must be ADDRESS:PORT: other gateways call there")]
    Socket,
    /// The URL is not one of TLS.
    #[error(
        "option peer_url must be https://HOST:PORT: the address of this gateway for the others"
    )]
    Url,
    /// A secret on the command line is read by everybody on the machine.
    #[error(
        "option directory must not hold a user or password: give them by directory_credentials_file"
    )]
    Password,
    /// Not the beginning of a subject.
    #[error(
        "option directory_prefix must be words of letters, digits, - and _ with dots between them"
    )]
    Prefix,
    /// The credentials of the directory.
    #[error(transparent)]
    Credentials(#[from] DirectoryCredentialsError),
    /// TLS with the servers of the directory.
    #[error(
        "TLS with the servers of option directory cannot be set up: check directory_ca_file, directory_cert_file and directory_key_file"
    )]
    DirectoryTls(#[from] TlsSettingsError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] NatsError),
    /// TLS with other gateways.
    #[error(transparent)]
    Tls(#[from] PeerTlsError),
    /// The address is taken or not ours.
    #[error("cannot listen at {address} (option peer_listen)")]
    Listen {
        /// The option's value.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What the options say of other gateways.
#[derive(Debug)]
pub struct PeersSettings {
    listen: SocketAddr,
    url: String,
    tls: PeerTls,
    nats: NatsSettings,
}

impl PeersSettings {
    /// Reads the options and the files that they name; nothing if this gateway stands alone.
    ///
    /// # Errors
    /// What does not fit or is missing, by the name of the option.
    pub fn of(config: &ShimConfig) -> Result<Option<Self>, PeersError> {
        let options: [(&'static str, bool); 10] = [
            ("directory", !config.directory.is_empty()),
            (
                "directory_credentials_file",
                config.directory_credentials_file.is_some(),
            ),
            ("directory_ca_file", config.directory_ca_file.is_some()),
            ("directory_cert_file", config.directory_cert_file.is_some()),
            ("directory_key_file", config.directory_key_file.is_some()),
            ("peer_listen", config.peer_listen.is_some()),
            ("peer_url", config.peer_url.is_some()),
            ("peer_tls_cert_file", config.peer_tls_cert_file.is_some()),
            ("peer_tls_key_file", config.peer_tls_key_file.is_some()),
            ("peer_tls_ca_file", config.peer_tls_ca_file.is_some()),
        ];
        let Some((given, _)) = options.into_iter().find(|(_, is_given)| *is_given) else {
            return Ok(None);
        };
        let missing = |missing| PeersError::Missing { given, missing };
        if config.gateway_url.is_none() {
            return Err(missing("gateway_url"));
        }
        let nats = nats(config, given)?;
        let file = |file: &Option<PathBuf>, option| file.clone().ok_or_else(|| missing(option));
        let listen = config.peer_listen.as_ref();
        let listen = match listen.ok_or_else(|| missing("peer_listen"))? {
            Listen::Tcp(address) => *address,
            Listen::Unix(_) => return Err(PeersError::Socket),
        };
        let url = config.peer_url.as_ref();
        let url = match url.ok_or_else(|| missing("peer_url"))? {
            Endpoint::Https(url) => url.trim_end_matches('/').to_owned(),
            Endpoint::Http(_) | Endpoint::Unix(_) => return Err(PeersError::Url),
        };
        let files = PeerTlsFiles {
            certificate: file(&config.peer_tls_cert_file, "peer_tls_cert_file")?,
            key: file(&config.peer_tls_key_file, "peer_tls_key_file")?,
            authorities: file(&config.peer_tls_ca_file, "peer_tls_ca_file")?,
        };
        let tls = PeerTls::load(files, config.common.grpc_tls_ca_file.clone())?;
        Ok(Some(Self {
            listen,
            url,
            tls,
            nats,
        }))
    }

    /// Opens the listener for other gateways, and makes this one a replica that knows nobody yet.
    /// `verify_ca` is what Ironic is given with `gateway_url`.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn open(
        self,
        gateway_url: String,
        verify_ca: Option<&str>,
        agents: AgentRegistry,
        stop: CancellationToken,
    ) -> Result<OpenPeers, PeersError> {
        let address = self.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| PeersError::Listen { address, source })?;
        let presence = Presence {
            replica: Uuid::new_v4().to_string(),
            peer_url: self.url,
            gateway_url,
            verify_ca_sha256: verify_ca.map(|text| Sha256Digest::of(text).to_string()),
        };
        let peers = Peers::new(presence, agents, self.tls, stop.clone());
        Ok(OpenPeers {
            peers,
            listener,
            nats: self.nats,
            stop,
        })
    }
}

/// A replica that listens and has not joined the others.
#[derive(Debug)]
pub struct OpenPeers {
    /// The replica.
    pub peers: Peers,
    listener: TcpListener,
    nats: NatsSettings,
    stop: CancellationToken,
}

impl OpenPeers {
    /// Serves the other gateways, and joins them. Where the directory does not answer it is
    /// joined later.
    ///
    /// # Errors
    /// The directory refuses this gateway.
    pub async fn join(self, nodes: NodeHandler) -> Result<(), PeersError> {
        let peers = self.peers;
        info!(event = %"peers_listening", url = %peers.url(), "milestone");
        peers.serve(self.listener, nodes);
        let member = Arc::new(peers.clone());
        let directory = NatsDirectory::start(self.nats, member, self.stop).await?;
        peers.join(Box::new(directory));
        Ok(())
    }
}

fn nats(config: &ShimConfig, given: &'static str) -> Result<NatsSettings, PeersError> {
    if config.directory.is_empty() {
        let missing = "directory";
        return Err(PeersError::Missing { given, missing });
    }
    if config.directory.iter().any(|server| server.contains('@')) {
        return Err(PeersError::Password);
    }
    let is_word = |word: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !word.is_empty() && word.chars().all(is_part)
    };
    if !config.directory_prefix.split('.').all(is_word) {
        return Err(PeersError::Prefix);
    }
    let identity = match (&config.directory_cert_file, &config.directory_key_file) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) => {
            let (given, missing) = ("directory_cert_file", "directory_key_file");
            return Err(PeersError::Missing { given, missing });
        }
        (None, Some(_)) => {
            let (given, missing) = ("directory_key_file", "directory_cert_file");
            return Err(PeersError::Missing { given, missing });
        }
    };
    let tls = client_config(&TlsSettings {
        ca_file: config.directory_ca_file.clone(),
        identity,
        ..TlsSettings::default()
    })?;
    let credentials = config.directory_credentials_file.as_deref();
    Ok(NatsSettings {
        servers: config.directory.clone(),
        prefix: config.directory_prefix.clone(),
        credentials: credentials.map(DirectoryCredentials::read).transpose()?,
        tls: Some(tls),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tls::testing;
    use super::*;

    #[test]
    fn what_is_missing_or_does_not_fit_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = testing::files(directory.path());
        let whole = ShimConfig {
            gateway_url: Some("https://gw.example:9999".parse().unwrap()),
            directory: vec!["nats://127.0.0.1:4222".into()],
            peer_listen: Some("127.0.0.1:0".parse().unwrap()),
            peer_url: Some("https://127.0.0.1:9996".parse().unwrap()),
            peer_tls_cert_file: Some(files.certificate),
            peer_tls_key_file: Some(files.key),
            peer_tls_ca_file: Some(files.authorities.clone()),
            ..ShimConfig::default()
        };
        assert!(PeersSettings::of(&whole).unwrap().is_some());
        assert!(PeersSettings::of(&ShimConfig::default()).unwrap().is_none());
        type Change = fn(&mut ShimConfig);
        let changes: [(Change, &str); 13] = [
            (
                |c| c.gateway_url = None,
                "option directory needs option gateway_url",
            ),
            (
                |c| c.directory.clear(),
                "option peer_listen needs option directory",
            ),
            (
                |c| c.peer_listen = None,
                "option directory needs option peer_listen",
            ),
            (
                |c| c.peer_url = None,
                "option directory needs option peer_url",
            ),
            (
                |c| c.peer_tls_cert_file = None,
                "option directory needs option peer_tls_cert_file",
            ),
            (
                |c| c.peer_tls_key_file = None,
                "option directory needs option peer_tls_key_file",
            ),
            (
                |c| c.peer_tls_ca_file = None,
                "option directory needs option peer_tls_ca_file",
            ),
            (
                |c| c.peer_listen = Some("unix:/x".parse().unwrap()),
                "peer_listen must be ADDRESS:PORT",
            ),
            (
                |c| c.peer_url = Some("http://a:1".parse().unwrap()),
                "peer_url must be https",
            ),
            (
                |c| c.directory = vec!["nats://u:p@a:1".into()],
                "directory_credentials_file",
            ),
            (
                |c| c.directory_prefix = "a..b".into(),
                "directory_prefix must be words",
            ),
            (
                |c| c.directory_key_file = Some("/k".into()),
                "option directory_key_file needs option directory_cert_file",
            ),
            (
                |c| c.directory_ca_file = Some("/nonexistent".into()),
                "check directory_ca_file",
            ),
        ];
        for (change, sentence) in changes {
            let mut config = whole.clone();
            change(&mut config);
            let error = PeersSettings::of(&config).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}, not {sentence}");
        }
        let mut shared = whole;
        shared.common.grpc_tls_ca_file = Some(files.authorities);
        let error = PeersSettings::of(&shared).unwrap_err().to_string();
        assert!(error.contains("a CA of their own"), "{error}");
    }
}

//! TLS between replicas: mutual, with a certificate authority that signs replicas and nothing
//! else. What the certificate of an agent proves must never be what proves a replica.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ironic_transport::grpc::{self, GRPC_TLS, ServerTlsError, TlsOptionNames};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;

/// The options of TLS between replicas.
const OPTIONS: TlsOptionNames = TlsOptionNames {
    certificate: "peer_tls_cert_file",
    key: "peer_tls_key_file",
    authorities: "peer_tls_ca_file",
};

/// The files of a replica, each named by an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTlsFiles {
    /// PEM certificate, for servers and for clients: option `peer_tls_cert_file`.
    pub certificate: PathBuf,
    /// PEM key of the certificate: option `peer_tls_key_file`.
    pub key: PathBuf,
    /// PEM of the CA of all replicas: option `peer_tls_ca_file`.
    pub authorities: PathBuf,
}

/// Why replicas cannot trust each other.
#[derive(Debug, Error)]
pub enum PeerTlsError {
    /// A file cannot be used.
    #[error(transparent)]
    Files(#[from] ServerTlsError),
    /// The same CA signs agents.
    #[error(
        "options peer_tls_ca_file and grpc_tls_ca_file name the same CA: any agent's certificate would pass as a gateway's. Give the gateways a CA of their own"
    )]
    SharedAuthority,
    /// Certificate, key and CA do not fit together.
    #[error(
        "the files of options peer_tls_cert_file, peer_tls_key_file and peer_tls_ca_file do not fit"
    )]
    Library(#[from] rustls::Error),
    /// The CA cannot verify anybody.
    #[error("option peer_tls_ca_file: its certificates verify nobody")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Both ends of TLS between replicas.
#[derive(Debug, Clone)]
struct PeerTlsConfigs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// TLS between replicas, whose files may be read again. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerTls {
    files: PeerTlsFiles,
    /// The CA of agents: option `grpc_tls_ca_file`.
    agents: Option<PathBuf>,
    configs: Arc<RwLock<PeerTlsConfigs>>,
}

impl PeerTls {
    /// Reads the files. `agents` is the CA that signs agents.
    ///
    /// # Errors
    /// A file cannot be used, or the CA signs agents, too.
    pub fn load(files: PeerTlsFiles, agents: Option<PathBuf>) -> Result<Self, PeerTlsError> {
        let configs = configs(&files, agents.as_deref())?;
        Ok(Self {
            files,
            agents,
            configs: Arc::new(RwLock::new(configs)),
        })
    }

    /// Reads the files again, for connections to come.
    ///
    /// # Errors
    /// A file cannot be used; all stays as it was.
    pub fn reload(&self) -> Result<(), PeerTlsError> {
        let new = configs(&self.files, self.agents.as_deref())?;
        *self.configs.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// For the listener.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        let configs = self.configs.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&configs.server)
    }

    /// For calls to other replicas.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        let configs = self.configs.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&configs.client)
    }
}

fn configs(files: &PeerTlsFiles, agents: Option<&Path>) -> Result<PeerTlsConfigs, PeerTlsError> {
    let authorities = grpc::certificates(OPTIONS.authorities, &files.authorities)?;
    if let Some(agents) = agents {
        let agents = grpc::certificates(GRPC_TLS.authorities, agents)?;
        if authorities
            .iter()
            .any(|authority| agents.contains(authority))
        {
            return Err(PeerTlsError::SharedAuthority);
        }
    }
    let shown = grpc::certified_key(&files.certificate, &files.key, &OPTIONS)?;
    let shown = Arc::new(SingleCertAndKey::from(shown));
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority)?;
    }
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier.build()?)
        .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_cert_resolver(shown);
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok(PeerTlsConfigs {
        server: Arc::new(server),
        client: Arc::new(client),
    })
}

/// A CA and a certificate of it for 127.0.0.1, in a directory.
#[cfg(test)]
pub(super) mod testing {
    use std::fs;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// Writes the files of a replica.
    pub(crate) fn files(directory: &Path) -> PeerTlsFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        PeerTlsFiles {
            certificate: write("peer.crt", leaf.pem()),
            key: write("peer.key", key.serialize_pem()),
            authorities: write("peer-ca.crt", authority.pem()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_by_its_option() {
        let directory = tempfile::tempdir().unwrap();
        let files = testing::files(directory.path());
        let tls = PeerTls::load(files.clone(), None).unwrap();
        tls.reload().unwrap();
        let refused = |files: PeerTlsFiles, agents: Option<PathBuf>| {
            PeerTls::load(files, agents).unwrap_err().to_string()
        };
        let absent = PathBuf::from("/nonexistent");
        for (files, option) in [
            (
                PeerTlsFiles {
                    certificate: absent.clone(),
                    ..files.clone()
                },
                "peer_tls_cert_file",
            ),
            (
                PeerTlsFiles {
                    key: absent.clone(),
                    ..files.clone()
                },
                "peer_tls_key_file",
            ),
            (
                PeerTlsFiles {
                    authorities: absent.clone(),
                    ..files.clone()
                },
                "peer_tls_ca_file",
            ),
            (
                PeerTlsFiles {
                    authorities: files.key.clone(),
                    ..files.clone()
                },
                "peer_tls_ca_file",
            ),
        ] {
            let error = refused(files, None);
            assert!(error.starts_with(&format!("option {option}: ")), "{error}");
        }
        let error = refused(files.clone(), Some(absent));
        assert!(error.contains("grpc_tls_ca_file"), "{error}");
        let shared = refused(files.clone(), Some(files.authorities.clone()));
        assert!(shared.contains("CA of their own"), "{shared}");
        // What was good stays when the files are damaged.
        fs::write(&files.key, "nothing").unwrap();
        tls.reload().unwrap_err();
        let _ = tls.client();
    }
}

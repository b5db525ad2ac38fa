//! TLS of the agents' listener.

use std::sync::Arc;
use std::time::Duration;

use ironic_transport::grpc::{
    self, ClientCertificates, ServerConfigError, ServerTls, ServerTlsError, TlsFiles,
};
use ironic_transport::tls::AuthorityPin;
use rustls::RootCertStore;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::UnixTime;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::identity::{AuthorityError, Enrolment};

/// How often the certificate of the own authority is replaced.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// Why the listener has no TLS.
#[derive(Debug, Error)]
pub enum ListenerTlsError {
    /// The operator's files cannot be used.
    #[error(transparent)]
    Files(#[from] ServerTlsError),
    /// The nodes' authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS cannot be set up with them.
    #[error(transparent)]
    Config(#[from] ServerConfigError),
}

/// TLS by the operator's files; none without a certificate. Where certificates are issued, there
/// always is TLS: it takes nodes' certificates, too, and demands none.
pub(super) fn load(
    files: &TlsFiles,
    enrolment: Option<&Enrolment>,
    host: &str,
) -> Result<Option<ServerTls>, ListenerTlsError> {
    let Some(enrolment) = enrolment else {
        return Ok(grpc::server_tls(files)?);
    };
    let shown = shown(files, enrolment, host)?;
    if let [_, .., authority] = shown.cert.as_slice() {
        let sha256 = AuthorityPin::of(authority);
        info!(%sha256, "agents may know this gateway by option conductor_ca_sha256");
    } else {
        warn!(
            "grpc_tls_cert_file holds no authority behind the certificate: no agent can know it by conductor_ca_sha256"
        );
    }
    let config = config(&shown, files, enrolment)?;
    Ok(Some(ServerTls::new(config)))
}

/// Replaces the certificate of the own authority every day. One of the operator stays.
pub(super) async fn renew(
    tls: ServerTls,
    files: TlsFiles,
    enrolment: Enrolment,
    host: String,
    stop: CancellationToken,
) {
    if files.certificate.is_some() {
        return;
    }
    // Goal: a certificate that is valid. Exit: the program stops.
    while stop
        .run_until_cancelled(tokio::time::sleep(RENEWAL))
        .await
        .is_some()
    {
        let new = shown(&files, &enrolment, &host);
        match new.and_then(|shown| config(&shown, &files, &enrolment)) {
            Ok(config) => tls.replace(config),
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "agents are shown the earlier certificate"
            ),
        }
    }
}

/// The operator's certificate, or one of the nodes' authority for `host`.
fn shown(
    files: &TlsFiles,
    enrolment: &Enrolment,
    host: &str,
) -> Result<Arc<CertifiedKey>, ListenerTlsError> {
    match grpc::server_certificate(files, &grpc::GRPC_TLS)? {
        Some(certificate) => Ok(Arc::new(certificate)),
        None => Ok(enrolment.authority().sign_server(host, UnixTime::now())?),
    }
}

fn config(
    shown: &Arc<CertifiedKey>,
    files: &TlsFiles,
    enrolment: &Enrolment,
) -> Result<rustls::ServerConfig, ListenerTlsError> {
    let operators = grpc::authorities(files, &grpc::GRPC_TLS)?;
    let mut roots = operators.unwrap_or_else(RootCertStore::empty);
    roots.roots.extend(enrolment.authority().roots()?.roots);
    let clients = ClientCertificates::Optional(Arc::new(roots));
    let certificate = SingleCertAndKey::from(CertifiedKey::clone(shown));
    Ok(grpc::server_config(Arc::new(certificate), clients)?)
}

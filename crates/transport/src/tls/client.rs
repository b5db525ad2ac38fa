//! TLS settings as rustls wants them.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, client::WantsClientCert};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::authorities::{certificates, trusted};
use super::insecure::AnyCertificate;
use super::pinned::Pinned;
use super::{TlsSettings, TlsSettingsError, UnusableFile, provider};

/// The settings as rustls wants them.
///
/// # Errors
/// The option that cannot be used.
pub fn client_config(tls: &TlsSettings) -> Result<ClientConfig, TlsSettingsError> {
    let provider = Arc::new(provider(&tls.cipher_suites, tls.only_1_3)?);
    let versions: &[_] = if tls.only_1_3 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = if tls.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        let roots = trusted(tls.ca_file.as_deref())?;
        match &tls.ca_file {
            None => builder.with_root_certificates(roots),
            Some(file) => builder
                .dangerous()
                .with_custom_certificate_verifier(pinned(file, roots, provider)?),
        }
    };
    let Some((certificate, key)) = &tls.identity else {
        return Ok(builder.with_no_client_auth());
    };
    identified(builder, certificate, key).map_err(|source| TlsSettingsError::Identity {
        certificate: certificate.clone(),
        key: key.clone(),
        source,
    })
}

fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &Path,
    key: &Path,
) -> Result<ClientConfig, UnusableFile> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key)?;
    Ok(builder.with_client_auth_cert(chain, secret)?)
}

/// The operator's authorities, which may be the servers themselves.
fn pinned(
    file: &Path,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<Pinned>, TlsSettingsError> {
    let verifier = || -> Result<Pinned, UnusableFile> {
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build()?;
        Ok(Pinned::new(verifier, certificates(file)?))
    };
    let pinned = verifier().map_err(|source| TlsSettingsError::Authorities {
        path: file.to_owned(),
        source,
    })?;
    Ok(Arc::new(pinned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_name_the_option() {
        let missing = TlsSettings {
            ca_file: Some("/nonexistent/ca.pem".into()),
            ..TlsSettings::default()
        };
        let unknown = TlsSettings {
            cipher_suites: vec!["ROT13".into()],
            ..TlsSettings::default()
        };
        let identity = TlsSettings {
            insecure: true,
            identity: Some(("/nonexistent/c.pem".into(), "/nonexistent/k.pem".into())),
            ..TlsSettings::default()
        };
        for (tls, option) in [
            (missing, "cafile /nonexistent/ca.pem: "),
            (unknown, "tls_cipher_suites: ROT13"),
            (identity, "certfile /nonexistent/c.pem"),
        ] {
            let error = client_config(&tls).unwrap_err();
            let error = ironic_text::error_chain(&error);
            assert!(error.contains(option), "{error}");
        }
    }
}

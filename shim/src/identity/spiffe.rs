//! The name of a node in a certificate: `spiffe://TRUST-DOMAIN/node/UUID`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::is_trust_domain;

/// What all names of one gateway's nodes begin with: `spiffe://`, and this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

/// A text that is no trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected lower-case letters, digits, dots, hyphens and underscores, at most 255")]
pub struct InvalidTrustDomain;

/// What a certificate says about who shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's UUID, lower case with hyphens.
    pub node_uuid: String,
    /// When the certificate ends.
    pub not_after: UnixTime,
}

/// Why a certificate names no node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NamelessCertificate {
    /// It is no X.509 certificate.
    #[error("the certificate is damaged")]
    Damaged,
    /// It has no SPIFFE ID, or several.
    #[error("the certificate has no SPIFFE ID (one subjectAltName of type URI, spiffe://…)")]
    NoSpiffeId,
    /// Its SPIFFE ID is not one of a node of this trust domain.
    #[error("the certificate is for {found}, and nodes are spiffe://{trust_domain}/node/UUID")]
    NoNode {
        /// The SPIFFE ID of the certificate.
        found: String,
        /// What the gateway's nodes have.
        trust_domain: TrustDomain,
    },
}

impl FromStr for TrustDomain {
    type Err = InvalidTrustDomain;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !is_trust_domain(text) {
            return Err(InvalidTrustDomain);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TrustDomain {
    /// The SPIFFE ID of a node.
    #[must_use]
    pub fn spiffe_id(&self, node_uuid: &str) -> String {
        format!("spiffe://{self}/node/{node_uuid}")
    }

    /// The node that a certificate names. Its signature and dates are the matter of TLS.
    ///
    /// # Errors
    /// It names none of this trust domain.
    pub fn node_of(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<NodeIdentity, NamelessCertificate> {
        let parsed = X509Certificate::from_der(certificate);
        let (_, certificate) = parsed.map_err(|_| NamelessCertificate::Damaged)?;
        let id = spiffe_id(&certificate)?;
        let node = id
            .strip_prefix("spiffe://")
            .and_then(|id| id.strip_prefix(self.0.as_str()))
            .and_then(|path| path.strip_prefix("/node/"));
        // One form only: the name must be the text that others compare.
        let uuid = node.filter(|node| {
            Uuid::try_parse(node).is_ok_and(|uuid| uuid.hyphenated().to_string() == *node)
        });
        let node_uuid = uuid.ok_or_else(|| NamelessCertificate::NoNode {
            found: id.to_owned(),
            trust_domain: self.clone(),
        })?;
        let end = certificate.validity().not_after.timestamp();
        let end = Duration::from_secs(u64::try_from(end).unwrap_or_default());
        Ok(NodeIdentity {
            node_uuid: node_uuid.to_owned(),
            not_after: UnixTime::since_unix_epoch(end),
        })
    }
}

/// The SPIFFE ID of a certificate: its only name of type URI.
///
/// # Errors
/// It has none, or several.
pub fn spiffe_id<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, NamelessCertificate> {
    let names = certificate.subject_alternative_name();
    let names = names.map_err(|_| NamelessCertificate::Damaged)?;
    let names = names.map(|extension| extension.value.general_names.iter());
    let mut uris = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) if uri.starts_with("spiffe://") => Ok(uri),
        _ => Err(NamelessCertificate::NoSpiffeId),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    const NODE: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        let uris = names
            .iter()
            .map(|name| SanType::URI((*name).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn one_name_of_one_form_is_a_node() {
        let domain: TrustDomain = "gw.example".parse().unwrap();
        let own = domain.spiffe_id(NODE);
        let found = domain.node_of(&certificate(&[&own])).unwrap();
        assert_eq!(found.node_uuid, NODE);
        let upper = format!("spiffe://gw.example/node/{}", NODE.to_uppercase());
        let bare = format!("spiffe://gw.example/node/{}", NODE.replace('-', ""));
        let longer = format!("{own}/x");
        let other = format!("spiffe://gw.example.org/node/{NODE}");
        let sub = format!("spiffe://a.gw.example/node/{NODE}");
        for wrong in [
            &upper[..],
            &bare,
            &longer,
            &other,
            &sub,
            "spiffe://gw.example/node/",
            "spiffe://gw.example/operator/x",
            "https://gw.example/node/x",
        ] {
            let error = domain.node_of(&certificate(&[wrong])).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(wrong) || text.contains("no SPIFFE ID"),
                "{text}"
            );
        }
        for names in [
            &[][..],
            &[&own, "spiffe://gw.example/node/x"],
            &[&own, &own],
        ] {
            let error = domain.node_of(&certificate(names)).unwrap_err();
            assert_eq!(error, NamelessCertificate::NoSpiffeId);
        }
    }

    #[test]
    fn trust_domains_are_plain() {
        for good in ["gw.example", "10.0.0.1", "a_b-c"] {
            assert_eq!(good.parse::<TrustDomain>().unwrap().to_string(), good);
        }
        for bad in ["", "GW", "a/b", "a:1", "[::1]", "ü", &"a".repeat(256)] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
        }
    }
}

//! The identity of a caller, by its certificate.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::identity::spiffe::spiffe_id;

/// The names in a client certificate. What a certificate does not have, or has in a form that
/// could be read in two ways, is empty: no rule fits it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The only common name.
    pub common_name: String,
    /// The whole subject in the order of the certificate, as `C=DE, O=Ops, CN=alice`. Within a
    /// value, a backslash stands before each `,`, `+`, `=` and backslash.
    pub subject: String,
    /// The SPIFFE ID.
    pub spiffe_id: String,
}

impl Principal {
    /// The names of a certificate, whose signature and dates are the matter of TLS.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return Self::default();
        };
        let subject = certificate.subject();
        let mut names = subject.iter_common_name();
        let common_name = match (names.next().map(|name| name.as_str()), names.next()) {
            (Some(Ok(name)), None) => name.to_owned(),
            _ => String::new(),
        };
        Self {
            common_name,
            subject: text(subject).unwrap_or_default(),
            spiffe_id: spiffe_id(&certificate).unwrap_or_default().to_owned(),
        }
    }
}

/// What errors and the audit name it by: the SPIFFE ID, or else the subject.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.spiffe_id.is_empty() {
            &self.subject
        } else {
            &self.spiffe_id
        })
    }
}

/// A subject as text, of which no two subjects have the same. `None` if a value is no text.
fn text(subject: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in subject.iter() {
        let mut attributes = Vec::new();
        for attribute in part.iter() {
            let kind = attribute.attr_type();
            let kind = oid2abbrev(kind, oid_registry())
                .map_or_else(|_| kind.to_id_string(), ToOwned::to_owned);
            let value = attribute.as_str().ok()?;
            attributes.push(format!("{kind}={}", escaped(value)));
        }
        parts.push(attributes.join("+"));
    }
    Some(parts.join(", "))
}

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, ',' | '+' | '=' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn principal(names: &[(DnType, &str)], uris: &[&str]) -> Principal {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names = uris.collect();
        let key = KeyPair::generate().unwrap();
        Principal::of(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn names_are_those_of_the_certificate() {
        let names = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Ops"),
            (DnType::CommonName, "alice"),
        ];
        let alice = principal(&names, &[]);
        assert_eq!(alice.common_name, "alice");
        assert_eq!(alice.subject, "C=DE, O=Ops, CN=alice");
        assert_eq!(alice.to_string(), alice.subject);
        let id = "spiffe://ops.example/ci/7";
        let robot = principal(&[], &[id]);
        assert_eq!((robot.spiffe_id.as_str(), robot.subject.as_str()), (id, ""));
        assert_eq!(robot.to_string(), id);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_no_name() {
        // One value that looks like two.
        let forged = principal(&[(DnType::OrganizationName, "Ops, CN=alice")], &[]);
        assert_eq!(forged.subject, "O=Ops\\, CN\\=alice");
        assert_eq!(forged.common_name, "");
        let two = principal(&[], &["spiffe://a.example/x", "spiffe://b.example/x"]);
        assert_eq!(two.spiffe_id, "");
        assert_eq!(
            Principal::of(&CertificateDer::from(vec![1, 2, 3])),
            Principal::default()
        );
    }
}

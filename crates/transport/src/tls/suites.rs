//! Cipher suites by name.

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use tracing::warn;

use super::TlsSettingsError;

/// The names in a list of cipher suites, which are separated by colons, as OpenSSL has it, or
/// by commas.
#[must_use]
pub fn cipher_suites(list: &str) -> Vec<String> {
    list.split([':', ','])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Ring, with only the named TLS 1.2 cipher suites (IANA or OpenSSL names; none named means
/// all of rustls, which are ECDHE with AES-GCM or ChaCha20).
///
/// # Errors
/// No named suite is known, although TLS 1.2 is wanted.
pub fn provider(suites: &[String], only_1_3: bool) -> Result<CryptoProvider, TlsSettingsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    if suites.is_empty() {
        return Ok(provider);
    }
    for name in suites {
        let mut known = provider.cipher_suites.iter();
        if !known.any(|suite| is_named(suite.suite(), name)) {
            warn!(suite = %name, "tls_cipher_suites: this suite is not known here");
        }
    }
    provider.cipher_suites.retain(|suite| {
        // OpenSSL's list rules TLS 1.2 only; TLS 1.3 has no weak suites.
        suite.tls13().is_some() || suites.iter().any(|name| is_named(suite.suite(), name))
    });
    let mut left = provider.cipher_suites.iter();
    if !only_1_3 && left.all(|suite| suite.tls13().is_some()) {
        return Err(TlsSettingsError::CipherSuites(suites.join(", ")));
    }
    Ok(provider)
}

/// Compares IANA's name (`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`) with either that or
/// OpenSSL's (`ECDHE-RSA-AES128-GCM-SHA256`).
fn is_named(suite: CipherSuite, name: &str) -> bool {
    let plain = |text: &str| text.replace(['_', '-'], "").to_uppercase();
    let iana = suite.as_str().unwrap_or_default();
    let name = plain(name);
    plain(iana) == name || {
        let openssl = iana
            .trim_start_matches("TLS_")
            .replace("_WITH_", "_")
            // OpenSSL leaves out the hash that ChaCha implies.
            .replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305");
        plain(&openssl) == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_are_known_by_both_names() {
        let suite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        assert!(is_named(suite, "ECDHE-RSA-AES128-GCM-SHA256"));
        assert!(is_named(suite, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert!(!is_named(suite, "ECDHE-RSA-AES256-GCM-SHA384"));
    }

    #[test]
    fn a_list_is_split_at_colons_and_commas() {
        for list in ["A:B", "A,B", " A , B:", ":A::B,"] {
            assert_eq!(cipher_suites(list), ["A", "B"], "{list}");
        }
        assert!(cipher_suites(" :,").is_empty());
    }

    #[test]
    fn one_known_suite_is_enough_and_none_is_an_error() {
        let names = |list: &str| cipher_suites(list);
        let known = "ECDHE-RSA-AES128-GCM-SHA256";
        let provider_of = provider(&names(&format!("ROT13,{known}")), false).unwrap();
        let old = provider_of.cipher_suites.iter();
        assert_eq!(old.filter(|suite| suite.tls13().is_none()).count(), 1);
        assert!(provider(&names("ROT13"), false).is_err());
        assert!(provider(&names("ROT13"), true).is_ok());
    }
}

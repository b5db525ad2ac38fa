//! What is taken of a certificate signing request: the key, and that the sender holds it.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
    SubjectPublicKeyInfo,
};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

/// The longest request, in bytes. One with a P-384 key and a name has less than 500.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Why a certificate signing request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CsrError {
    /// It is no request, or more than one.
    #[error("csr is not a PKCS #10 request in DER of at most 16 KiB")]
    Malformed,
    /// The key is not of a kind that is taken.
    #[error("csr: the key must be ECDSA P-256 or P-384, or Ed25519")]
    Key,
    /// The sender has not signed it with its key.
    #[error("csr: the signature does not fit the key")]
    Signature,
}

/// A public key whose holder asks for a certificate.
#[derive(Debug)]
pub struct RequestedKey(SubjectPublicKeyInfo);

impl RequestedKey {
    /// Takes the key of a request. Names and extensions of the request are left where they are.
    ///
    /// # Errors
    /// The request is malformed, its key weak or its signature wrong.
    pub fn of_csr(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(CsrError::Malformed);
        }
        let (rest, csr) =
            X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        let spki = &csr.certification_request_info.subject_pki;
        let key = SubjectPublicKeyInfo::from_der(spki.raw).map_err(|_| CsrError::Key)?;
        let taken = [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
        ];
        if !taken.contains(&key.algorithm()) {
            return Err(CsrError::Key);
        }
        csr.verify_signature().map_err(|_| CsrError::Signature)?;
        Ok(Self(key))
    }

    pub(super) fn public(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    fn csr(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn strong_keys_of_any_request_are_taken() {
        for algorithm in [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
        ] {
            let csr = csr(algorithm);
            assert_eq!(
                RequestedKey::of_csr(&csr).unwrap().public().algorithm(),
                algorithm
            );
        }
    }

    /// Made by `openssl req -new -newkey rsa:2048 -nodes -subj /CN=x -outform DER`, and the same
    /// with a key of the curve secp521r1.
    #[test]
    fn other_keys_are_refused_by_name() {
        for csr in [
            &include_bytes!("../../tests/data/rsa-2048.csr")[..],
            include_bytes!("../../tests/data/p521.csr"),
        ] {
            assert_eq!(RequestedKey::of_csr(csr).unwrap_err(), CsrError::Key);
        }
    }

    #[test]
    fn what_is_not_one_request_is_refused() {
        let whole = csr(&PKCS_ECDSA_P256_SHA256);
        let more = [&whole[..], b"x"].concat();
        for wrong in [&b""[..], b"-----BEGIN", &whole[..whole.len() - 1], &more] {
            assert_eq!(
                RequestedKey::of_csr(wrong).unwrap_err(),
                CsrError::Malformed
            );
        }
        let long = vec![0x30; MAX_REQUEST_BYTES + 1];
        assert_eq!(
            RequestedKey::of_csr(&long).unwrap_err(),
            CsrError::Malformed
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever is changed in a request, no other key is taken with its signature.
        #[test]
        fn damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut csr = csr(&PKCS_ECDSA_P256_SHA256);
            let key = RequestedKey::of_csr(&csr).unwrap();
            let at = at.index(csr.len());
            csr[at] ^= 1 << bit;
            if let Ok(damaged) = RequestedKey::of_csr(&csr) {
                prop_assert_eq!(damaged.public().der_bytes(), key.public().der_bytes());
            }
        }
    }
}

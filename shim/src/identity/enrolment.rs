//! Which machines get a certificate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ironic_text::Secret;
use ironic_transport::listener::admission::Peer;
use rustls_pki_types::UnixTime;
use thiserror::Error;
use tokio::time::Instant;

use super::attempts::FailedAttempts;
use super::authority::{AuthorityError, IssuedCertificate, NodeAuthority};
use super::csr::{CsrError, RequestedKey};
use super::join_token::{JoinTokenRefusal, JoinTokenStoreError, JoinTokens, canonical};
use super::spiffe::TrustDomain;
use crate::agents::Proofs;
use crate::config::{GatewayUrl, NodeCertificates, ShimConfig};

/// What a machine proves with that it is a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeProof {
    /// A join token.
    JoinToken(Secret),
    /// The agent token that the node has from the conductor.
    AgentToken(Secret),
}

/// Says the labels of nodes: those of their files, where the gateway has some.
pub trait NodeLabels: fmt::Debug + Send + Sync {
    /// The labels of a node; none of one that is not known.
    fn labels(&self, node_uuid: &str) -> BTreeMap<String, String>;
}

/// Why a machine gets no certificate.
#[derive(Debug, Error)]
pub enum EnrolmentError {
    /// The peer has failed too often.
    #[error("too many attempts have failed from this address: try again in {} s", .0.as_secs())]
    TooManyAttempts(Duration),
    /// This kind of proof is not taken.
    #[error("{0} proves nothing here: option node_certificates of the gateway says what does")]
    MethodOff(&'static str),
    /// The request cannot be signed.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// The node is not a UUID.
    #[error("node_uuid is not a UUID")]
    NodeUuid,
    /// The agent token is not known to be the node's.
    #[error(
        "the agent token is not known to be that of node {0}: this gateway has not handed it out, and \
         the conductor has accepted no heartbeat with it"
    )]
    AgentTokenUnproved(String),
    /// The join token proves nothing, or cannot be looked at.
    #[error(transparent)]
    JoinToken(#[from] JoinTokenStoreError),
    /// The authority cannot sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl EnrolmentError {
    /// Whether the caller may be guessing.
    fn is_failed_attempt(&self) -> bool {
        matches!(
            self,
            Self::AgentTokenUnproved(_)
                | Self::JoinToken(JoinTokenStoreError::Refused(JoinTokenRefusal::Invalid))
        )
    }
}

/// Why a gateway cannot issue certificates.
#[derive(Debug, Error)]
pub enum EnrolmentSetupError {
    /// There is no name for the certificates.
    #[error("the host of gateway_url ({0}) is not a trust domain: set the option trust_domain")]
    TrustDomain(String),
    /// The authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The trust domain that is configured, or the host of the gateway.
fn trust_domain(config: &ShimConfig, url: &GatewayUrl) -> Result<TrustDomain, EnrolmentSetupError> {
    let name = config.trust_domain.as_deref().unwrap_or_else(|| url.host());
    let invalid = |_| EnrolmentSetupError::TrustDomain(name.to_owned());
    name.to_ascii_lowercase().parse().map_err(invalid)
}

/// Signs certificates for who proves to be a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Enrolment(Arc<EnrolmentState>);

#[derive(Debug)]
struct EnrolmentState {
    authority: NodeAuthority,
    proofs_taken: NodeCertificates,
    tokens: JoinTokens,
    proofs: Proofs,
    labels: Arc<dyn NodeLabels>,
    attempts: FailedAttempts,
}

impl Enrolment {
    /// Takes these proofs. Agent tokens are the ones of `proofs`; join tokens may ask for labels.
    #[must_use]
    pub fn new(
        authority: NodeAuthority,
        proofs_taken: NodeCertificates,
        tokens: JoinTokens,
        proofs: Proofs,
        labels: Arc<dyn NodeLabels>,
    ) -> Self {
        Self(Arc::new(EnrolmentState {
            authority,
            proofs_taken,
            tokens,
            proofs,
            labels,
            attempts: FailedAttempts::default(),
        }))
    }

    /// The authority that signs.
    #[must_use]
    pub fn authority(&self) -> &NodeAuthority {
        &self.0.authority
    }

    /// What is taken as a proof.
    #[must_use]
    pub fn proofs_taken(&self) -> NodeCertificates {
        self.0.proofs_taken
    }

    /// What this gateway issues; `None` where it issues nothing.
    ///
    /// # Errors
    /// The authority cannot be used, or there is no trust domain.
    pub fn of_gateway(
        config: &ShimConfig,
        url: &GatewayUrl,
        proofs: Proofs,
        labels: Arc<dyn NodeLabels>,
    ) -> Result<Option<Self>, EnrolmentSetupError> {
        if config.node_certificates == NodeCertificates::None {
            return Ok(None);
        }
        let domain = trust_domain(config, url)?;
        let authority = NodeAuthority::load(config, domain)?;
        let tokens = JoinTokens::new(&config.state_dir);
        let taken = config.node_certificates;
        Ok(Some(Self::new(authority, taken, tokens, proofs, labels)))
    }

    /// Signs the first certificate of a machine that says that it is the node `claimed`. Waits for
    /// the disk.
    ///
    /// # Errors
    /// The machine proves nothing, or the certificate cannot be signed.
    pub fn enroll(
        &self,
        proof: &NodeProof,
        claimed: Option<&str>,
        csr: &[u8],
        caller: (Peer, UnixTime),
    ) -> Result<IssuedCertificate, EnrolmentError> {
        let (peer, now) = caller;
        if let Some(wait) = self.0.attempts.wait(peer, Instant::now()) {
            return Err(EnrolmentError::TooManyAttempts(wait));
        }
        let issued = self.try_enroll(proof, claimed, csr, now);
        if issued
            .as_ref()
            .is_err_and(EnrolmentError::is_failed_attempt)
        {
            self.0.attempts.failed(peer, Instant::now());
        }
        issued
    }

    fn try_enroll(
        &self,
        proof: &NodeProof,
        claimed: Option<&str>,
        csr: &[u8],
        now: UnixTime,
    ) -> Result<IssuedCertificate, EnrolmentError> {
        // A request that cannot be signed must not use up a token.
        let key = RequestedKey::of_csr(csr)?;
        let claimed = claimed.map(|node| canonical(node).ok_or(EnrolmentError::NodeUuid));
        let claimed = claimed.transpose()?;
        let state = &*self.0;
        let node_uuid = match proof {
            NodeProof::JoinToken(token) => {
                let labels = |node: &str| state.labels.labels(node);
                state
                    .tokens
                    .redeem(token, claimed.as_deref(), labels, now)?
            }
            NodeProof::AgentToken(_) if state.proofs_taken != NodeCertificates::AgentToken => {
                return Err(EnrolmentError::MethodOff("an agent token"));
            }
            NodeProof::AgentToken(token) => {
                let node = claimed.ok_or(EnrolmentError::NodeUuid)?;
                if !state.proofs.is_proved(&node, token.reveal()) {
                    return Err(EnrolmentError::AgentTokenUnproved(node));
                }
                node
            }
        };
        Ok(state.authority.sign_node(&node_uuid, &key, now)?)
    }

    /// Signs the next certificate of a node, which the caller has proved to be.
    ///
    /// # Errors
    /// The certificate cannot be signed.
    pub fn renew(
        &self,
        node_uuid: &str,
        csr: &[u8],
        now: UnixTime,
    ) -> Result<IssuedCertificate, EnrolmentError> {
        let key = RequestedKey::of_csr(csr)?;
        Ok(self.0.authority.sign_node(node_uuid, &key, now)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::identity::join_token::NewJoinToken;

    const NODE: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const OTHER: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3302";

    /// Each node stands in rack 1.
    #[derive(Debug)]
    struct OneRack;

    impl NodeLabels for OneRack {
        fn labels(&self, _: &str) -> BTreeMap<String, String> {
            BTreeMap::from([("rack".to_owned(), "1".to_owned())])
        }
    }

    fn enrolment(state: &Path, taken: NodeCertificates) -> Enrolment {
        let config = ShimConfig {
            state_dir: state.to_owned(),
            ..ShimConfig::default()
        };
        let authority = NodeAuthority::load(&config, "gw.example".parse().unwrap()).unwrap();
        let (tokens, proofs) = (JoinTokens::new(state), Proofs::new(state));
        Enrolment::new(authority, taken, tokens, proofs, Arc::new(OneRack))
    }

    fn token(enrolment: &Enrolment, max_uses: u32) -> NodeProof {
        let new = NewJoinToken {
            node_uuid: Some(NODE.to_owned()),
            labels: BTreeMap::new(),
            max_uses,
            lifetime: Duration::from_secs(100),
        };
        let (_, token) = enrolment.0.tokens.create(new, UnixTime::now()).unwrap();
        NodeProof::JoinToken(token)
    }

    fn csr() -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    fn stranger() -> (Peer, UnixTime) {
        (Peer::Local, UnixTime::now())
    }

    #[test]
    fn only_what_the_token_proves_is_in_the_certificate() {
        let state = tempfile::tempdir().unwrap();
        let enrolment = enrolment(state.path(), NodeCertificates::JoinToken);
        let proof = token(&enrolment, 1);
        // What cannot be signed uses nothing up.
        enrolment
            .enroll(&proof, None, b"no request", stranger())
            .unwrap_err();
        let other = enrolment.enroll(&proof, Some(OTHER), &csr(), stranger());
        assert!(other.unwrap_err().to_string().contains("for another node"));
        let issued = enrolment.enroll(&proof, None, &csr(), stranger()).unwrap();
        let text = String::from_utf8_lossy(&issued.chain[0]).into_owned();
        assert!(text.contains(&format!("spiffe://gw.example/node/{NODE}")));
        assert!(!text.contains("other.example"), "the request's own names");
        let again = enrolment
            .enroll(&proof, None, &csr(), stranger())
            .unwrap_err();
        assert!(
            again.to_string().contains("as often as it may be (1)"),
            "{again}"
        );
    }

    #[test]
    fn a_token_may_ask_for_labels() {
        let state = tempfile::tempdir().unwrap();
        let enrolment = enrolment(state.path(), NodeCertificates::JoinToken);
        for (rack, is_right) in [("1", true), ("2", false)] {
            let new = NewJoinToken {
                node_uuid: None,
                labels: BTreeMap::from([("rack".to_owned(), rack.to_owned())]),
                max_uses: 1,
                lifetime: Duration::from_secs(100),
            };
            let (_, token) = enrolment.0.tokens.create(new, UnixTime::now()).unwrap();
            let proof = NodeProof::JoinToken(token);
            let issued = enrolment.enroll(&proof, Some(NODE), &csr(), stranger());
            assert_eq!(issued.is_ok(), is_right, "{issued:?}");
        }
    }

    #[test]
    fn an_agent_token_proves_its_node_where_it_is_taken() {
        let state = tempfile::tempdir().unwrap();
        let open = enrolment(state.path(), NodeCertificates::AgentToken);
        let proof = NodeProof::AgentToken(Secret::new("0123456789abcdef0123456789abcdef"));
        let unproved = open.enroll(&proof, Some(NODE), &csr(), stranger());
        assert!(matches!(
            unproved,
            Err(EnrolmentError::AgentTokenUnproved(_))
        ));
        open.0
            .proofs
            .prove(NODE, "0123456789abcdef0123456789abcdef");
        let issued = open.enroll(&proof, Some(NODE), &csr(), stranger()).unwrap();
        assert_eq!(issued.node_uuid, NODE);
        for wrong in [Some(OTHER), None] {
            open.enroll(&proof, wrong, &csr(), stranger()).unwrap_err();
        }
        let closed = enrolment(state.path(), NodeCertificates::JoinToken);
        let refused = closed.enroll(&proof, Some(NODE), &csr(), stranger());
        assert!(matches!(refused, Err(EnrolmentError::MethodOff(_))));
    }

    #[test]
    fn who_guesses_waits_even_with_a_right_token_and_who_errs_does_not() {
        let state = tempfile::tempdir().unwrap();
        let enrolment = enrolment(state.path(), NodeCertificates::JoinToken);
        let proof = token(&enrolment, 100);
        for _ in 0..50 {
            let other = enrolment.enroll(&proof, Some(OTHER), &csr(), stranger());
            assert!(
                matches!(other, Err(EnrolmentError::JoinToken(_))),
                "{other:?}"
            );
        }
        let guess = NodeProof::JoinToken(Secret::new("0123456789ab.guess"));
        for _ in 0..10 {
            enrolment
                .enroll(&guess, None, &csr(), stranger())
                .unwrap_err();
        }
        let waiting = enrolment.enroll(&proof, None, &csr(), stranger());
        assert!(matches!(waiting, Err(EnrolmentError::TooManyAttempts(_))));
        let (_, now) = stranger();
        let elsewhere = (Peer::V6(1), now);
        enrolment.enroll(&proof, None, &csr(), elsewhere).unwrap();
    }
}

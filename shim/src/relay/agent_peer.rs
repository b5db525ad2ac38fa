//! The caller: the connection, and the node that its certificate names.
//!
//! Where certificates are issued, TLS asks for one without demanding it, because a machine that
//! has none must be able to enrol. What a call then needs is decided here, by its path, before
//! anything of the call is read. A node that is named speaks for itself alone.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use ironic_transport::grpc::bounds::Caller;
use rustls_pki_types::{CertificateDer, UnixTime};
use tonic::body::Body;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::refusal::refused;
use crate::config::NodeCertificates;
use crate::identity::TrustDomain;

/// Calls that need no certificate where certificates are issued.
const OPEN: [&str; 3] = [
    "/ironic.agent.v1.IdentityService/GetIdentityInfo",
    "/ironic.agent.v1.IdentityService/Enroll",
    "/grpc.health.v1.Health/",
];
/// The same where the agent token is a proof: the lookup answers it.
const OPEN_FOR_LOOKUP: [&str; 2] = [
    "/ironic.agent.v1.ConductorService/Lookup",
    "/ironic.agent.v1.ConductorService/SubmitInspection",
];

/// The node that a client certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CertifiedNode(String);

/// The agent that makes a call.
#[derive(Debug, Clone, Default)]
pub(super) struct AgentPeer {
    /// Its connection.
    pub(super) caller: Option<Caller>,
    certified: Option<CertifiedNode>,
}

impl AgentPeer {
    /// The caller of a request.
    pub(super) fn of(extensions: &http::Extensions) -> Self {
        Self {
            caller: Caller::in_extensions(extensions),
            certified: extensions.get::<CertifiedNode>().cloned(),
        }
    }

    /// The node that the certificate names; `None` where it names none.
    pub(super) fn node_uuid(&self) -> Option<&str> {
        self.certified.as_ref().map(|node| node.0.as_str())
    }

    /// Refuses to hear of another node than the one that the certificate names.
    pub(super) fn speaks_for(&self, node_uuid: &str) -> Result<(), Status> {
        match self.node_uuid() {
            Some(certified) if certified != node_uuid => {
                tracing::warn!(node = %node_uuid, certificate = %certified,
                    "a certificate of one node was shown for another");
                Err(refused(
                    Code::PermissionDenied,
                    "CERTIFICATE_OTHER_NODE",
                    format!("the certificate is that of node {certified}, not of node {node_uuid}"),
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Lets calls pass whose certificates allow them, and notes which node they come from.
#[derive(Debug, Clone)]
pub(super) struct CertificateGate(Option<Arc<GateRules>>);

#[derive(Debug)]
struct GateRules {
    trust_domain: TrustDomain,
    issued: NodeCertificates,
}

impl CertificateGate {
    /// For certificates of this trust domain; without one, nobody looks at names.
    pub(super) fn new(trust_domain: Option<TrustDomain>, issued: NodeCertificates) -> Self {
        Self(trust_domain.map(|trust_domain| {
            Arc::new(GateRules {
                trust_domain,
                issued,
            })
        }))
    }
}

impl GateRules {
    /// Whether nobody needs to be known for a path. Where the gateway issues no certificates, the
    /// operator's TLS says who needs one.
    fn is_open(&self, path: &str) -> bool {
        let begins = |open: &&str| path.starts_with(*open);
        match self.issued {
            NodeCertificates::None | NodeCertificates::JoinToken => OPEN.iter().any(begins),
            NodeCertificates::AgentToken => OPEN.iter().chain(&OPEN_FOR_LOOKUP).any(begins),
        }
    }

    fn admit(
        &self,
        path: &str,
        certificate: Option<&CertificateDer<'_>>,
        now: UnixTime,
    ) -> Result<Option<CertifiedNode>, Status> {
        let refuse = |reason, text| Err(refused(Code::Unauthenticated, reason, text));
        let is_open = self.is_open(path);
        let is_needed = !is_open && self.issued != NodeCertificates::None;
        match certificate.map(|certificate| self.trust_domain.node_of(certificate)) {
            // The connection may be older than the end of its certificate. Without the name, such a
            // caller would speak for every node.
            Some(Ok(node)) if node.not_after < now && !is_open => refuse(
                "CERTIFICATE_EXPIRED",
                format!(
                    "the certificate of node {} has ended since the connection was opened: connect again with the next one",
                    node.node_uuid
                ),
            ),
            Some(Ok(node)) if node.not_after >= now => Ok(Some(CertifiedNode(node.node_uuid))),
            Some(Err(nameless)) if is_needed => refuse(
                "CERTIFICATE_WITHOUT_NODE",
                format!("{nameless}: enrol at this gateway, or have it issued for a node"),
            ),
            None if is_needed => refuse(
                "CERTIFICATE_REQUIRED",
                "this gateway hears machines with a certificate only: give the agent a join_token"
                    .to_owned(),
            ),
            _ => Ok(None),
        }
    }
}

impl<S> Layer<S> for CertificateGate {
    type Service = GatedByCertificate<S>;

    fn layer(&self, inner: S) -> GatedByCertificate<S> {
        GatedByCertificate {
            rules: self.0.clone(),
            inner,
        }
    }
}

/// A service behind a [`CertificateGate`].
#[derive(Debug, Clone)]
pub(super) struct GatedByCertificate<S> {
    rules: Option<Arc<GateRules>>,
    inner: S,
}

impl<S> Service<Request<Body>> for GatedByCertificate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(rules) = &self.rules else {
            return Box::pin(self.inner.call(request));
        };
        let tls = request.extensions().get::<TlsConnectInfo<Caller>>();
        let chain = tls.and_then(TlsConnectInfo::peer_certs);
        let certificate = chain.as_ref().and_then(|chain| chain.first());
        match rules.admit(request.uri().path(), certificate, UnixTime::now()) {
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
            Ok(node) => {
                if let Some(node) = node {
                    request.extensions_mut().insert(node);
                }
                Box::pin(self.inner.call(request))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};
    use tonic_types::StatusExt;

    use super::*;

    const NODE: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const ATTACH: &str = "/ironic.agent.v1.ConductorService/Attach";
    const LOOKUP: &str = "/ironic.agent.v1.ConductorService/Lookup";
    const ENROLL: &str = "/ironic.agent.v1.IdentityService/Enroll";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";
    const RENEW: &str = "/ironic.agent.v1.IdentityService/RenewCertificate";

    /// Valid until 2030.
    fn certificate(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        params.not_after = date_time_ymd(2030, 1, 1);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    }

    fn in_year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600))
    }

    #[test]
    fn each_path_has_what_it_needs() {
        use NodeCertificates::{AgentToken, JoinToken, None as NotIssued};
        let own = certificate(&format!("spiffe://gw.example/node/{NODE}"));
        let other = certificate("spiffe://other.example/node/x");
        let (own, other) = (Some(&own), Some(&other));
        let cases = [
            (NotIssued, ATTACH, None, 2026, Ok(None)),
            (NotIssued, ATTACH, other, 2026, Ok(None)),
            (NotIssued, ATTACH, own, 2026, Ok(Some(NODE))),
            (NotIssued, ATTACH, own, 2031, Err("CERTIFICATE_EXPIRED")),
            (NotIssued, LOOKUP, own, 2031, Err("CERTIFICATE_EXPIRED")),
            (NotIssued, HEALTH, own, 2031, Ok(None)),
            (JoinToken, ATTACH, own, 2026, Ok(Some(NODE))),
            (JoinToken, ATTACH, own, 2031, Err("CERTIFICATE_EXPIRED")),
            (
                JoinToken,
                ATTACH,
                other,
                2026,
                Err("CERTIFICATE_WITHOUT_NODE"),
            ),
            (JoinToken, ATTACH, None, 2026, Err("CERTIFICATE_REQUIRED")),
            (JoinToken, LOOKUP, None, 2026, Err("CERTIFICATE_REQUIRED")),
            (JoinToken, RENEW, None, 2026, Err("CERTIFICATE_REQUIRED")),
            (JoinToken, ENROLL, None, 2026, Ok(None)),
            (JoinToken, ENROLL, other, 2026, Ok(None)),
            (JoinToken, ENROLL, own, 2031, Ok(None)),
            (AgentToken, LOOKUP, None, 2026, Ok(None)),
            (AgentToken, LOOKUP, own, 2026, Ok(Some(NODE))),
            // As without a certificate.
            (AgentToken, LOOKUP, own, 2031, Ok(None)),
            (AgentToken, ATTACH, own, 2031, Err("CERTIFICATE_EXPIRED")),
            (AgentToken, ATTACH, None, 2026, Err("CERTIFICATE_REQUIRED")),
            (
                AgentToken,
                "/ironic.agent.v1.Unknown/Call",
                None,
                2026,
                Err("CERTIFICATE_REQUIRED"),
            ),
        ];
        for (issued, path, shown, year, expected) in cases {
            let rules = GateRules {
                trust_domain: "gw.example".parse().unwrap(),
                issued,
            };
            let admitted = rules.admit(path, shown, in_year(year));
            let found = admitted
                .as_ref()
                .map(|node| node.as_ref().map(|node| node.0.as_str()));
            let details = found.map_err(|status| status.get_details_error_info().unwrap().reason);
            assert_eq!(
                details,
                expected.map_err(str::to_owned),
                "{issued:?} {path}"
            );
        }
    }

    #[test]
    fn a_certificate_speaks_for_its_node_alone() {
        let peer = AgentPeer {
            certified: Some(CertifiedNode(NODE.into())),
            ..AgentPeer::default()
        };
        peer.speaks_for(NODE).unwrap();
        let status = peer.speaks_for("another").unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        AgentPeer::default().speaks_for("another").unwrap();
    }
}

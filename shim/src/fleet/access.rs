//! Whether a request to the fleet is admitted: the one place where that is decided.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ironic_agent_protocol::roles::CallerRole;
use ironic_agent_protocol::v1;
use ironic_text::{error_chain, printable};
use ironic_transport::grpc::bounds::Caller;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tonic::transport::server::TlsConnectInfo;
use tracing::{error, info, warn};

use super::error::FleetError;
use super::node_log::Labels;
use super::policy::file::{PolicyFile, PolicyFileError, PolicyVersion};
use super::policy::principal::Principal;

/// How often the file of the policy is looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// The caller.
#[derive(Debug, Clone, Default)]
pub struct FleetCaller {
    /// The caller's certificate and its chain, already verified against `fleet_tls_ca_file`.
    /// Empty where the listener demands none.
    certificates: Arc<Vec<CertificateDer<'static>>>,
    /// The address; `None` over a socket in the file system.
    pub peer: Option<SocketAddr>,
    principal: OnceLock<Principal>,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub enum RequestTarget<'a> {
    /// One node.
    Node(&'a v1::Node),
    /// The gateway itself.
    Gateway,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct FleetRequest<'a> {
    /// The caller.
    pub caller: &'a FleetCaller,
    /// The path of the method, `/ironic.agent.v1.FleetService/ListNodes`.
    pub method: &'a str,
    /// What it is about.
    pub target: RequestTarget<'a>,
    /// What is ordered, as far as it is known.
    pub ordered: Option<OrderedVerb>,
}

/// What an order is, and who may give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderedVerb {
    /// Ironic's full name, or `cancel`; empty if the order names none.
    pub name: &'static str,
    /// The role that it needs, beside that of the method.
    pub role: CallerRole,
}

/// Decides which requests are admitted. Cheap to clone.
///
/// Without a policy it admits every caller that the listener lets in.
#[derive(Debug, Clone, Default)]
pub struct FleetAccess(Option<Arc<PolicyFile>>);

/// The nodes that a caller may see. It stays as it is when the policy changes.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeView(Option<(PolicyVersion, Principal)>);

impl FleetAccess {
    /// Decides by the policy in a file. Blocks.
    ///
    /// # Errors
    /// The file is no policy.
    pub fn by_policy(file: &Path) -> Result<Self, PolicyFileError> {
        let file = PolicyFile::open(file)?;
        Ok(Self(Some(Arc::new(file))))
    }

    /// Admits a request.
    ///
    /// # Errors
    /// The caller does not have the role that the request needs.
    pub fn admit(&self, request: FleetRequest<'_>) -> Result<(), FleetError> {
        let Some(file) = &self.0 else {
            return Ok(());
        };
        let needed = CallerRole::of_method(request.method);
        let needed = request.ordered.map_or(needed, |verb| verb.role.max(needed));
        let principal = request.caller.principal();
        let policy = file.current().policy;
        let has = match request.target {
            RequestTarget::Node(node) => policy.role_for_node(principal, &node.labels),
            RequestTarget::Gateway => policy.role_for_gateway(principal),
        };
        if has >= Some(needed) {
            return Ok(());
        }
        let verb = request.ordered.map(|verb| verb.name);
        let wanted = verb
            .filter(|name| !name.is_empty())
            .unwrap_or(request.method);
        Err(missing(request.caller, needed, wanted, request.target))
    }

    /// The nodes that a caller may see.
    ///
    /// # Errors
    /// The policy does not know the caller at all.
    pub(super) fn view(&self, caller: &FleetCaller, method: &str) -> Result<NodeView, FleetError> {
        let Some(file) = &self.0 else {
            return Ok(NodeView::default());
        };
        let (version, principal) = (file.current(), caller.principal());
        if !version.policy.knows(principal) {
            let needed = CallerRole::of_method(method);
            return Err(missing(caller, needed, method, RequestTarget::Gateway));
        }
        Ok(NodeView(Some((version, principal.clone()))))
    }

    /// Reads the policy again. Blocks.
    pub fn refresh(&self) {
        let Some(file) = &self.0 else {
            return;
        };
        match file.refresh() {
            Ok(true) => info!("the policy was read again, and is another one"),
            Ok(false) => {}
            Err(error) => warn!(
                error = %error_chain(&error),
                "the policy is wrong: the earlier one still counts"
            ),
        }
    }

    /// Reads the policy again when its file changes. Never ends.
    pub async fn keep_up(self) {
        if self.0.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(PERIOD).await;
            let access = self.clone();
            let refreshing = tokio::task::spawn_blocking(move || access.refresh());
            if refreshing.await.is_err() {
                // The task panicked, or the runtime ends.
                error!("the policy is not read again: restart the gateway");
                return std::future::pending().await;
            }
        }
    }

    /// Says when another policy counts. `None`: there is no policy.
    pub(super) fn changes(&self) -> Option<watch::Receiver<PolicyVersion>> {
        self.0.as_ref().map(|file| file.changes())
    }
}

impl NodeView {
    /// Whether the caller may see nodes with these labels.
    pub(super) fn sees(&self, labels: &Labels) -> bool {
        let Some((version, principal)) = &self.0 else {
            return true;
        };
        version.policy.role_for_node(principal, labels).is_some()
    }

    /// Which policy it is of; 0 without one.
    pub(super) fn policy(&self) -> u64 {
        self.0.as_ref().map_or(0, |(version, _)| version.number)
    }
}

/// The refusal, which is also logged: who tries what is not theirs.
fn missing(
    caller: &FleetCaller,
    needed: CallerRole,
    wanted: &str,
    target: RequestTarget<'_>,
) -> FleetError {
    let name = caller.to_string();
    let node = match target {
        RequestTarget::Node(node) => Some(node.uuid.clone()),
        RequestTarget::Gateway => None,
    };
    let (role, peer) = (needed.name(), caller.peer);
    warn!(caller = %name, ?peer, role, %wanted, ?node, "a caller lacks a role");
    FleetError::RoleMissing {
        caller: name,
        role,
        wanted: wanted.to_owned(),
        node,
    }
}

impl FleetCaller {
    /// The caller that has shown these certificates, which are verified, and calls from `peer`.
    #[must_use]
    pub fn new(certificates: Vec<CertificateDer<'static>>, peer: Option<SocketAddr>) -> Self {
        Self {
            certificates: Arc::new(certificates),
            peer,
            principal: OnceLock::new(),
        }
    }

    /// The caller of a request, of its extensions. The listener lets nobody in without a
    /// certificate unless that is wanted, so its connection makes way for nobody.
    #[must_use]
    pub fn in_extensions(extensions: &http::Extensions) -> Self {
        let caller = Caller::in_extensions(extensions);
        if let Some(caller) = &caller {
            caller.authenticated();
        }
        let tls = extensions.get::<TlsConnectInfo<Caller>>();
        Self {
            certificates: tls.and_then(TlsConnectInfo::peer_certs).unwrap_or_default(),
            peer: caller.and_then(|caller| caller.peer),
            principal: OnceLock::new(),
        }
    }

    /// The names in the caller's certificate; without one, none.
    pub(super) fn principal(&self) -> &Principal {
        self.principal.get_or_init(|| {
            let leaf = self.certificates.first();
            leaf.map(Principal::of).unwrap_or_default()
        })
    }
}

/// As errors and the audit name the caller; empty without a certificate.
impl std::fmt::Display for FleetCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&printable(&self.principal().to_string()))
    }
}

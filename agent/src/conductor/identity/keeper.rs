//! Gets the certificate, and keeps it valid.

use std::sync::Arc;

use ironic_text::{Secret, error_chain};
use ironic_transport::tls::ServerClock;
use tracing::{error, info, warn};

use super::{
    AgentTokenAttestor, CertificateIssuer, CertificateMemory, HeldCertificate, IssuerError,
    IssuerInfo, JoinTokenAttestor, KeyError, KnownNode, NewKey, NodeAttestor, NodeEvidence,
    SignedCertificate,
};
use crate::conductor::backoff::Backoff;
use crate::conductor::jitter::Jitter;

/// What an agent's identity is made of.
#[derive(Debug)]
pub struct IdentitySettings {
    /// What proves the machine to be a node, beside the agent token.
    pub join_token: Option<Secret>,
    /// Whether the agent has a certificate of the operator's, which is not replaced.
    pub has_own_certificate: bool,
    /// Whether the gateway's time must be known before anything else is said.
    pub needs_time: bool,
    /// The gateway's time; connections look at it, too.
    pub clock: ServerClock,
    /// What survives a restart of the process.
    pub memory: CertificateMemory,
}

/// The identity of this agent.
#[derive(Debug)]
pub struct IdentityKeeper<J> {
    issuer: Arc<dyn CertificateIssuer>,
    settings: IdentitySettings,
    attestors: Vec<Box<dyn NodeAttestor>>,
    known: KnownNode,
    /// What the gateway says about itself; `None` where it issues nothing.
    info: Option<IssuerInfo>,
    held: Option<HeldCertificate>,
    backoff: Backoff<J>,
    jitter: J,
}

impl<J: Jitter> IdentityKeeper<J> {
    /// Holds no certificate yet.
    pub fn new(
        issuer: Arc<dyn CertificateIssuer>,
        settings: IdentitySettings,
        backoff: Backoff<J>,
        jitter: J,
    ) -> Self {
        let join_token = settings.join_token.clone().map(JoinTokenAttestor);
        let mut attestors: Vec<Box<dyn NodeAttestor>> = Vec::new();
        attestors.extend(join_token.map(|attestor| Box::new(attestor) as _));
        attestors.push(Box::new(AgentTokenAttestor));
        Self {
            issuer,
            settings,
            attestors,
            known: KnownNode::default(),
            info: None,
            held: None,
            backoff,
            jitter,
        }
    }

    /// The node that the certificate names; `None` without one.
    #[must_use]
    pub fn node_uuid(&self) -> Option<&str> {
        self.held.as_ref().map(|held| held.node_uuid.as_str())
    }

    /// What is done before the node is looked up: asks the gateway for its time, and takes the
    /// certificate of this boot's earlier process or, by the join token, a new one. Goes on trying
    /// where the agent cannot do without.
    pub async fn before_lookup(&mut self) {
        let is_needed = self.settings.needs_time || self.settings.join_token.is_some();
        self.learn(is_needed).await;
        if self.settings.has_own_certificate || self.info.is_none() {
            return;
        }
        self.recall().await;
        if self.held.is_none() && self.settings.join_token.is_some() {
            self.obtain().await;
        }
    }

    /// What is done once the node and its token are known: takes a certificate for them, if the
    /// gateway wants that and the agent holds none.
    pub async fn after_lookup(&mut self, node_uuid: &str, agent_token: Option<Secret>) {
        self.known = KnownNode {
            node_uuid: Some(node_uuid.to_owned()),
            agent_token,
        };
        if self.settings.has_own_certificate {
            return;
        }
        if self.info.is_none() && !self.settings.clock.is_settled() {
            // It could not be asked before.
            self.learn(false).await;
        }
        if self.info.is_some() && self.held.is_none() {
            self.obtain().await;
        }
    }

    /// Renews the certificate for as long as the agent runs. Never returns.
    pub async fn keep(mut self) {
        // Goal: a certificate that is valid. Exit: none, or there is nothing to renew.
        while let Some(held) = &self.held {
            let pause = held.until_renewal(self.settings.clock.now());
            tokio::time::sleep(pause).await;
            self.renew().await;
        }
        std::future::pending().await
    }

    /// Asks the gateway about itself, once or until it answers.
    async fn learn(&mut self, is_needed: bool) {
        loop {
            match self.issuer.info().await {
                Ok(info) => {
                    self.backoff.succeeded();
                    self.settings.clock.learn(info.time);
                    let issues = info.takes_join_token || info.takes_agent_token;
                    self.info = issues.then_some(info);
                }
                Err(IssuerError::NotOffered) => self.settings.clock.trust_machine(),
                Err(error) if !is_needed => {
                    info!(reason = %error_chain(&error), "whether certificates are issued is not known yet");
                    return;
                }
                Err(error) => {
                    let pause = self.backoff.failed();
                    warn!(reason = %error_chain(&error), retry_in = ?pause, "the gateway does not say what time it is");
                    tokio::time::sleep(pause).await;
                    continue;
                }
            }
            if self.info.is_none() && self.settings.join_token.is_some() {
                warn!("option join_token has no effect: the conductor issues no certificates");
            }
            // The connection was made before the time was known: its dates are checked anew.
            if let Err(error) = self.issuer.show(None).await {
                warn!(%error, "no certificate is shown");
            }
            return;
        }
    }

    /// Takes what this boot's earlier process held, if it is still valid.
    async fn recall(&mut self) {
        let held = self.settings.memory.recall();
        let now = self.settings.clock.now();
        let Some(held) = held.filter(|held| held.is_valid(now)) else {
            return;
        };
        match self.show(&held).await {
            Ok(()) => {
                info!(node = %held.node_uuid, "the certificate of an earlier start is used");
                self.held = Some(held);
            }
            Err(error) => {
                warn!(reason = %error_chain(&error), "the remembered certificate is not used")
            }
        }
    }

    /// Takes a first certificate by what proves the node. Gives up only if nothing does, or if
    /// a lookup may bring another proof.
    async fn obtain(&mut self) {
        loop {
            let Some(info) = self.info else { return };
            let proofs: Vec<(&'static str, NodeEvidence)> = self
                .attestors
                .iter()
                .filter_map(|one| Some((one.name(), one.evidence(&info, &self.known)?)))
                .collect();
            if proofs.is_empty() {
                return;
            }
            for (attestor, evidence) in proofs {
                match self.enroll(evidence).await {
                    Ok(()) => return,
                    Err(error) => {
                        error!(by = attestor, reason = %error_chain(&error), "no certificate for this machine");
                        let may_have_another = self.known.agent_token.is_none();
                        let is_refused =
                            matches!(error, UncertifiedError::Issuer(IssuerError::Refused(_)));
                        if is_refused && may_have_another && info.takes_agent_token {
                            return;
                        }
                    }
                }
            }
            tokio::time::sleep(self.backoff.failed()).await;
        }
    }

    async fn enroll(&mut self, evidence: NodeEvidence) -> Result<(), UncertifiedError> {
        let key = NewKey::generate()?;
        let signed = self.issuer.enroll(evidence, key.csr.clone()).await?;
        self.hold(key, signed).await?;
        info!(event = %"enrolled", node = self.node_uuid(), "milestone");
        Ok(())
    }

    /// Renews the certificate until that succeeds; when its time is over, proves the node anew.
    async fn renew(&mut self) {
        loop {
            let error = match self.try_renew().await {
                Ok(()) => return,
                Err(error) => error,
            };
            let pause = self.backoff.failed();
            warn!(reason = %error_chain(&error), retry_in = ?pause, "the certificate is not renewed");
            tokio::time::sleep(pause).await;
            let now = self.settings.clock.now();
            if !self.held.as_ref().is_some_and(|held| held.is_valid(now)) {
                // With an ended one, no connection would be made.
                if let Err(error) = self.issuer.show(None).await {
                    warn!(%error, "no certificate is shown");
                }
                return self.obtain().await;
            }
        }
    }

    async fn try_renew(&mut self) -> Result<(), UncertifiedError> {
        let key = NewKey::generate()?;
        let signed = self.issuer.renew(key.csr.clone()).await?;
        self.hold(key, signed).await?;
        info!(event = %"certificate_renewed", node = self.node_uuid(), "milestone");
        Ok(())
    }

    async fn hold(
        &mut self,
        key: NewKey,
        signed: SignedCertificate,
    ) -> Result<(), UncertifiedError> {
        self.settings.clock.learn(signed.now);
        self.backoff.succeeded();
        // A fleet that was powered on together does not renew together.
        let held = key.certified(signed, self.jitter.between(0.9, 1.0));
        self.show(&held).await?;
        if let Err(error) = self.settings.memory.keep(&held) {
            warn!(%error, "after a restart of the agent, this certificate is not known any more");
        }
        self.known.node_uuid = Some(held.node_uuid.clone());
        self.held = Some(held);
        Ok(())
    }

    async fn show(&self, held: &HeldCertificate) -> Result<(), KeyError> {
        let certificate = held.for_tls()?;
        Ok(self.issuer.show(Some(certificate)).await?)
    }
}

/// Why the agent has no new certificate.
#[derive(Debug, thiserror::Error)]
enum UncertifiedError {
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

//! Machines that prove which node they are: the real agent, the real gateway, TLS between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_agent::conductor::ConnectionError;
use ironic_agent::conductor::backoff::Backoff;
use ironic_agent::conductor::identity::{
    CertificateIssuer, CertificateMemory, IdentityKeeper, IdentitySettings, IssuerError,
    IssuerInfo, NodeEvidence, SignedCertificate,
};
use ironic_agent::config::AgentConfig;
use ironic_agent::system::PathPrefix;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::enroll_request::Proof;
use ironic_agent_protocol::v1::identity_service_client::IdentityServiceClient;
use ironic_shim::config::{NodeCertificates, ShimConfig};
use ironic_shim::identity::join_token::{JoinTokens, NewJoinToken};
use ironic_shim::identity::{Enrolment, IssuedCertificate, NodeAuthority, NodeProof, RequestedKey};
use ironic_text::Secret;
use ironic_transport::grpc::{self, ClientCertificates, ClientTls, Dialer};
use ironic_transport::listener::admission::Peer;
use ironic_transport::tls::{AuthorityPin, ClientCertificate, ServerClock};
use ironic_tunnel::{GrpcChannel, Pings};
use rand::rngs::StdRng;
use rcgen::{CertificateParams, KeyPair};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::fleet::{channel_at, config_without_ironic, describe, of_node, sync};
use super::fleet_elsewhere::until_shown;
use crate::support::gateway::{Machine, SYNC, ask, gateway_config};
use crate::support::ironic::{FakeIronic, NODE, TOKEN};
use crate::support::shim::{Shim, hello};

const HEARTBEAT: &str = "/v1/heartbeat/";
const OTHER: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3302";

/// A gateway that issues certificates.
struct Gateway {
    ironic: FakeIronic,
    state: tempfile::TempDir,
    shim: Shim,
}

impl Gateway {
    async fn new(node_certificates: NodeCertificates) -> Self {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let config = ShimConfig {
            node_certificates,
            node_certificate_lifetime: Duration::from_secs(3600),
            auto_tls_allowed_clock_skew: Duration::from_secs(2 * 3600),
            ..gateway_config(&ironic, &state)
        };
        let shim = Shim::start(config).await;
        Self {
            ironic,
            state,
            shim,
        }
    }

    fn tokens(&self) -> JoinTokens {
        JoinTokens::new(self.state.path())
    }

    fn token(&self, node_uuid: Option<&str>, lifetime: Duration) -> Secret {
        let new = NewJoinToken {
            node_uuid: node_uuid.map(str::to_owned),
            labels: BTreeMap::new(),
            max_uses: 1,
            lifetime,
        };
        self.tokens().create(new, UnixTime::now()).unwrap().1
    }

    fn pin(&self) -> AuthorityPin {
        let pem = self.state.path().join("nodes-ca.crt");
        AuthorityPin::of(&CertificateDer::from_pem_file(pem).unwrap())
    }

    /// Options of an agent that knows the pin and a join token.
    fn enrolling(&self, token: &Secret) -> impl Fn(AgentConfig) -> AgentConfig {
        let (pin, token) = (self.pin(), token.clone());
        move |config| AgentConfig {
            conductor_ca_sha256: Some(pin),
            join_token: Some(token.clone()),
            ..config
        }
    }

    fn authority(&self) -> NodeAuthority {
        authority(&self.shim.config)
    }

    /// A connection of a client with this certificate.
    async fn connect(&self, shown: Option<Shown>) -> std::io::Result<GrpcChannel> {
        let tls = ClientTls {
            pin: Some(self.pin()),
            ..ClientTls::default()
        };
        if let Some((chain, key)) = shown {
            tls.certificate.set(chain, key).unwrap();
        }
        let dialer = Dialer::with(&self.shim.url.parse().unwrap(), &tls).unwrap();
        let socket = dialer.dial(Duration::from_secs(20), |_| {}).await?;
        let (channel, driver) = ironic_tunnel::connect(socket, Pings::Never).await?;
        tokio::spawn(driver);
        Ok(channel)
    }

    async fn enroll(
        &self,
        proof: Proof,
        node_uuid: &str,
        csr: Vec<u8>,
    ) -> Result<v1::NodeCertificate, Status> {
        let channel = self.connect(None).await.unwrap();
        let request = v1::EnrollRequest {
            proof: Some(proof),
            node_uuid: node_uuid.to_owned(),
            csr,
        };
        let answer = IdentityServiceClient::with_origin(channel, origin())
            .enroll(request)
            .await?;
        Ok(answer.into_inner().certificate.unwrap())
    }
}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn origin() -> tonic::transport::Uri {
    tonic::transport::Uri::from_static(ironic_tunnel::ORIGIN)
}

fn authority(config: &ShimConfig) -> NodeAuthority {
    NodeAuthority::load(config, "127.0.0.1".parse().unwrap()).unwrap()
}

/// A key and a request for it that asks for another name.
fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["gw.example".to_owned()]).unwrap();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

/// What an authority would give a node that asks `ago` before now.
fn certificate(authority: &NodeAuthority, node: &str, ago: Duration) -> Shown {
    let (key, csr) = request();
    let then = UnixTime::now().as_secs() - ago.as_secs();
    let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
    let csr = RequestedKey::of_csr(&csr).unwrap();
    let issued = authority.sign_node(node, &csr, then).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    (issued.chain, key)
}

fn reason(status: &Status) -> String {
    let details = status.get_details_error_info();
    details.map_or_else(|| format!("{status:?}"), |details| details.reason)
}

async fn first_answer(
    channel: GrpcChannel,
    node_uuid: &str,
) -> Result<Option<v1::HeartbeatResponse>, Status> {
    let hello = v1::Hello {
        node_uuid: node_uuid.to_owned(),
        ..hello()
    };
    let hello = v1::HeartbeatRequest {
        message: Some(v1::heartbeat_request::Message::Hello(hello)),
    };
    let mut client = ConductorServiceClient::with_origin(channel, origin());
    let answers = client.heartbeat(tokio_stream::once(hello)).await?;
    answers.into_inner().message().await
}

#[tokio::test]
async fn an_agent_enrols_by_a_join_token_and_ironic_reaches_it() {
    let gateway = Gateway::new(NodeCertificates::JoinToken).await;
    let token = gateway.token(Some(NODE), Duration::from_secs(60));
    let machine = Machine::new();
    let options = gateway.enrolling(&token);
    let agent = machine.start_agent_with(&gateway.shim.url, &options);
    gateway.ironic.wait_for(HEARTBEAT, 1).await;
    let answer = ask(&gateway.shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");

    // The next process of the same boot goes on with the certificate: the token is used up.
    drop(agent);
    let _agent = machine.start_agent_with(&gateway.shim.url, &options);
    let answer = ask(&gateway.shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    let uses = gateway.tokens().list(UnixTime::now()).unwrap()[0].uses;
    assert_eq!(uses, 1);
    let kept = fs::read_to_string(machine.state().join("node-certificate.json")).unwrap();
    assert!(kept.contains(NODE) && !kept.contains(token.reveal()));
}

#[tokio::test]
async fn without_ironic_an_agent_enrols_by_a_join_token_and_is_called() {
    let state = tempfile::tempdir().unwrap();
    let config = ShimConfig {
        node_certificates: NodeCertificates::JoinToken,
        ..config_without_ironic(&state)
    };
    let config = ShimConfig {
        gateway_url: Some(
            format!("https://127.0.0.1:{}", config.listen_port)
                .parse()
                .unwrap(),
        ),
        ..config
    };
    let gateway = Gateway {
        ironic: FakeIronic::start().await,
        shim: Shim::start(config).await,
        state,
    };
    let token = gateway.token(Some(NODE), Duration::from_secs(60));
    let machine = Machine::new();
    let options = gateway.enrolling(&token);
    let mut commands = CommandServiceClient::new(channel_at(gateway.state.path()));
    // The second process has the certificate of the first one, and the node's token.
    for _ in 0..2 {
        let agent = machine.start_agent_with(&gateway.shim.url, &options);
        let ordered = commands.execute_command(of_node(NODE, sync()));
        let record = ordered.await.unwrap().into_inner().command.unwrap();
        assert_eq!(record.state(), v1::CommandState::Succeeded, "{record:?}");
        drop(agent);
        until_shown(&gateway.shim, v1::NodeState::Away).await;
    }
    assert!(gateway.ironic.seen("/v1/").is_empty());
}

/// The labels are those of the node files, which a gateway may also have in front of Ironic.
#[tokio::test]
async fn a_join_token_with_labels_is_for_the_nodes_that_have_them() {
    for has_ironic in [true, false] {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let alone = config_without_ironic(&state);
        let other = format!("uuid: {OTHER}\nname: rack2-1\nmacs: ['52:54:00:e2:e0:02']\n");
        describe(&state, "b.yaml", &format!("{other}labels: {{rack: '2'}}\n"));
        let config = if has_ironic {
            ShimConfig {
                node_dir: alone.node_dir,
                ..gateway_config(&ironic, &state)
            }
        } else {
            alone
        };
        let shim = Shim::start(ShimConfig {
            node_certificates: NodeCertificates::JoinToken,
            ..config
        });
        let gateway = Gateway {
            shim: shim.await,
            ironic,
            state,
        };
        let new = NewJoinToken {
            node_uuid: None,
            labels: BTreeMap::from([("rack".to_owned(), "1".to_owned())]),
            max_uses: 2,
            lifetime: Duration::from_secs(60),
        };
        let (_, token) = gateway.tokens().create(new, UnixTime::now()).unwrap();
        let proof = || Proof::JoinToken(token.reveal().to_owned());
        let (_, csr) = request();
        let refused = gateway.enroll(proof(), OTHER, csr.clone()).await;
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "JOIN_TOKEN_OTHER_NODE", "{refused:?}");
        gateway.enroll(proof(), NODE, csr).await.unwrap();
    }
}

#[tokio::test]
async fn under_ironic_an_agent_needs_nothing_but_the_pin() {
    let gateway = Gateway::new(NodeCertificates::AgentToken).await;
    let pin = gateway.pin();
    let machine = Machine::new();
    let _agent = machine.start_agent_with(&gateway.shim.url, |config| AgentConfig {
        conductor_ca_sha256: Some(pin),
        ..config
    });
    gateway.ironic.wait_for(HEARTBEAT, 1).await;
    let answer = ask(&gateway.shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
}

#[tokio::test]
async fn a_gateway_with_another_authority_than_the_pin_hears_nothing() {
    let gateway = Gateway::new(NodeCertificates::AgentToken).await;
    let tls = ClientTls {
        pin: Some(AuthorityPin::of(&CertificateDer::from(vec![1, 2, 3]))),
        ..ClientTls::default()
    };
    let dialer = Dialer::with(&gateway.shim.url.parse().unwrap(), &tls).unwrap();
    let refused = dialer.dial(Duration::from_secs(20), |_| {}).await;
    let text = refused.err().unwrap().to_string();
    assert!(
        text.contains("no authority that the server shows has the SHA-256"),
        "{text}"
    );
}

#[tokio::test]
async fn each_wrong_certificate_is_refused_with_its_reason() {
    let gateway = Gateway::new(NodeCertificates::JoinToken).await;
    let ours = gateway.authority();
    let none = Duration::ZERO;

    // None at all: only the identity service answers.
    let channel = gateway.connect(None).await.unwrap();
    let status = first_answer(channel.clone(), NODE).await.unwrap_err();
    assert_eq!(reason(&status), "CERTIFICATE_REQUIRED", "{status:?}");
    let mut client = ConductorServiceClient::with_origin(channel.clone(), origin());
    let status = client
        .lookup(v1::LookupRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "CERTIFICATE_REQUIRED", "{status:?}");
    let mut identity = IdentityServiceClient::with_origin(channel, origin());
    identity
        .get_identity_info(v1::GetIdentityInfoRequest {})
        .await
        .unwrap();
    let (_, csr) = request();
    let status = identity
        .renew_certificate(v1::RenewCertificateRequest { csr })
        .await;
    assert_eq!(reason(&status.unwrap_err()), "CERTIFICATE_REQUIRED");

    // One of another node speaks for it in no call.
    let shown = certificate(&ours, OTHER, none);
    let channel = gateway.connect(Some(shown)).await.unwrap();
    let status = first_answer(channel.clone(), NODE).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reason(&status), "CERTIFICATE_OTHER_NODE", "{status:?}");
    let mut client = ConductorServiceClient::with_origin(channel, origin());
    let asked = v1::LookupRequest {
        addresses: vec!["52:54:00:e2:e0:01".into()],
        node_uuid: NODE.into(),
        ..v1::LookupRequest::default()
    };
    let status = client.lookup(asked).await.unwrap_err();
    assert_eq!(reason(&status), "CERTIFICATE_OTHER_NODE", "{status:?}");
    let attaching = v1::AttachRequest {
        hello: Some(v1::AttachHello {
            node_uuid: NODE.into(),
            agent_token: TOKEN.into(),
            ..v1::AttachHello::default()
        }),
        ..v1::AttachRequest::default()
    };
    let answers = client.attach(tokio_stream::once(attaching)).await.unwrap();
    let status = answers.into_inner().message().await.unwrap_err();
    assert_eq!(reason(&status), "CERTIFICATE_OTHER_NODE", "{status:?}");

    // An ended one, and one of an authority that nobody knows here, end in the handshake.
    let elsewhere = tempfile::tempdir().unwrap();
    let unknown = authority(&ShimConfig {
        state_dir: elsewhere.path().to_owned(),
        ..gateway.shim.config.clone()
    });
    let ended = gateway.connect(Some(certificate(&ours, NODE, none))).await;
    assert!(
        first_answer(ended.unwrap(), NODE).await.unwrap().is_none(),
        "a right one"
    );
    let hours = Duration::from_secs(3599 + 60);
    for shown in [
        certificate(&unknown, NODE, none),
        certificate(&ours, NODE, hours),
    ] {
        let heard = match gateway.connect(Some(shown)).await {
            Ok(channel) => first_answer(channel, NODE)
                .await
                .map_err(|status| status.code()),
            Err(_) => Err(Code::Unavailable),
        };
        assert_eq!(heard.unwrap_err(), Code::Unavailable);
    }
}

#[tokio::test]
async fn each_wrong_join_token_is_refused_with_its_reason() {
    let gateway = Gateway::new(NodeCertificates::JoinToken).await;
    let join = |token: &Secret| Proof::JoinToken(token.reveal().to_owned());
    let minute = Duration::from_secs(60);
    let enroll = async |proof, node| {
        let enrolled = gateway.enroll(proof, node, request().1).await;
        enrolled
            .map(|issued| issued.node_uuid)
            .map_err(|status| reason(&status))
    };
    let refused = |reason: &str| Err(reason.to_owned());

    let once = gateway.token(Some(NODE), minute);
    assert_eq!(
        enroll(join(&once), OTHER).await,
        refused("JOIN_TOKEN_OTHER_NODE")
    );
    assert_eq!(enroll(join(&once), "").await, Ok(NODE.to_owned()));
    assert_eq!(enroll(join(&once), "").await, refused("JOIN_TOKEN_USED"));

    let unbound = gateway.token(None, minute);
    assert_eq!(enroll(join(&unbound), "").await, refused("NODE_UNKNOWN"));
    assert_eq!(
        enroll(join(&unbound), "node-1").await,
        refused("NODE_UNKNOWN")
    );
    assert_eq!(enroll(join(&unbound), OTHER).await, Ok(OTHER.to_owned()));

    let revoked = gateway.token(Some(NODE), minute);
    let (id, _) = revoked.reveal().split_once('.').unwrap();
    gateway.tokens().revoke(id, UnixTime::now()).unwrap();
    assert_eq!(
        enroll(join(&revoked), "").await,
        refused("JOIN_TOKEN_REVOKED")
    );

    let short = gateway.token(Some(NODE), Duration::from_secs(1));
    let end = UnixTime::now().as_secs() + 1;
    while UnixTime::now().as_secs() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        enroll(join(&short), "").await,
        refused("JOIN_TOKEN_EXPIRED")
    );

    let agent_token = Proof::AgentToken(TOKEN.to_owned());
    assert_eq!(
        enroll(agent_token, NODE).await,
        refused("ENROLLMENT_METHOD_OFF")
    );
    let good = gateway.token(Some(NODE), minute);
    let status = gateway
        .enroll(join(&good), "", b"nothing".to_vec())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "CSR_INVALID");
    // Guesses are slowed down.
    for _ in 0..10 {
        let guess = Proof::JoinToken("0123456789ab.0123".to_owned());
        assert_eq!(enroll(guess, "").await, refused("JOIN_TOKEN_INVALID"));
    }
    assert_eq!(enroll(join(&good), "").await, refused("TOO_MANY_ATTEMPTS"));
}

/// The clock of a machine: days off, and not what anybody goes by.
#[derive(Debug)]
struct SetClock {
    /// What it showed when the simulation began.
    begin: UnixTime,
    since: tokio::time::Instant,
}

impl SetClock {
    fn new(begin: u64) -> Arc<Self> {
        Arc::new(Self {
            begin: UnixTime::since_unix_epoch(Duration::from_secs(begin)),
            since: tokio::time::Instant::now(),
        })
    }
}

impl TimeProvider for SetClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_secs(self.begin.as_secs()) + self.since.elapsed();
        Some(UnixTime::since_unix_epoch(now))
    }
}

/// A gateway without a network: the real enrolment, by a clock of the simulation.
#[derive(Debug)]
struct SimulatedIssuer {
    enrolment: Enrolment,
    token: Secret,
    clock: Arc<SetClock>,
    /// What the agent shows.
    shown: ClientCertificate,
    renewals: AtomicUsize,
    /// Of three calls, one fails.
    calls: AtomicUsize,
}

impl SimulatedIssuer {
    fn now(&self) -> UnixTime {
        self.clock.current_time().unwrap()
    }

    fn fails(&self) -> Result<(), IssuerError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            return Err(ConnectionError::new(lost).into());
        }
        Ok(())
    }

    fn signed(&self, issued: IssuedCertificate) -> SignedCertificate {
        SignedCertificate {
            chain: issued.chain,
            node_uuid: issued.node_uuid,
            not_after: issued.not_after,
            now: self.now(),
        }
    }
}

impl CertificateIssuer for SimulatedIssuer {
    fn info(&self) -> BoxFuture<'_, Result<IssuerInfo, IssuerError>> {
        Box::pin(async {
            self.fails()?;
            Ok(IssuerInfo {
                time: self.now(),
                takes_join_token: true,
                takes_agent_token: false,
            })
        })
    }

    fn enroll(
        &self,
        evidence: NodeEvidence,
        csr: Vec<u8>,
    ) -> BoxFuture<'_, Result<SignedCertificate, IssuerError>> {
        assert!(matches!(evidence, NodeEvidence::JoinToken { .. }));
        Box::pin(async move {
            self.fails()?;
            let proof = NodeProof::JoinToken(self.token.clone());
            let issued = self
                .enrolment
                .enroll(&proof, None, &csr, (Peer::Local, self.now()));
            issued
                .map(|issued| self.signed(issued))
                .map_err(|error| IssuerError::Refused(error.to_string()))
        })
    }

    fn renew(&self, csr: Vec<u8>) -> BoxFuture<'_, Result<SignedCertificate, IssuerError>> {
        Box::pin(async move {
            self.fails()?;
            self.renewals.fetch_add(1, Ordering::Relaxed);
            let issued = self.enrolment.renew(NODE, &csr, self.now()).unwrap();
            Ok(self.signed(issued))
        })
    }

    fn show(&self, certificate: Option<Shown>) -> BoxFuture<'_, Result<(), rustls::Error>> {
        Box::pin(async move {
            match certificate {
                Some((chain, key)) => self.shown.set(chain, key),
                None => {
                    self.shown.clear();
                    Ok(())
                }
            }
        })
    }
}

/// A whole handshake over a pipe, both ends by their clocks.
async fn handshake(issuer: &SimulatedIssuer, tls: &ClientTls) -> Result<(), String> {
    let authority = issuer.enrolment.authority();
    let server = authority.sign_server("127.0.0.1", issuer.now()).unwrap();
    let server = SingleCertAndKey::from(CertifiedKey::clone(&server));
    let clients = ClientCertificates::Required(Arc::new(authority.roots().unwrap()));
    let clock = Arc::clone(&issuer.clock) as Arc<dyn TimeProvider>;
    let server = grpc::server_config_at(Arc::new(server), clients, clock).unwrap();
    let connector = grpc::client_connector("https://127.0.0.1", tls).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let accepting = async { acceptor.accept(far).await.map(drop) };
    let (connected, accepted) = tokio::join!(connector.connect(name, near), accepting);
    connected.map_err(|error| format!("the agent: {error}"))?;
    accepted.map_err(|error| format!("the gateway: {error}"))
}

#[tokio::test(start_paused = true)]
async fn a_day_of_renewals_has_no_gap_although_the_clock_is_days_off() {
    const BEGIN: u64 = 1_800_000_000;
    const DAYS: u64 = 3 * 24 * 3600;
    for machine in [BEGIN, BEGIN + DAYS, BEGIN - DAYS] {
        let (gateway, agent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = ShimConfig {
            state_dir: gateway.path().to_owned(),
            node_certificate_lifetime: Duration::from_secs(3600),
            auto_tls_allowed_clock_skew: Duration::from_secs(60),
            ..ShimConfig::default()
        };
        // The authority is of today, and the simulation of a later year.
        let authority = authority(&config);
        let pin = AuthorityPin::of(authority.certificate());
        let tokens = JoinTokens::new(gateway.path());
        let clock = SetClock::new(BEGIN);
        let new = NewJoinToken {
            node_uuid: Some(NODE.to_owned()),
            labels: BTreeMap::new(),
            max_uses: 1,
            lifetime: Duration::from_secs(60),
        };
        let (_, token) = tokens.create(new, clock.current_time().unwrap()).unwrap();
        let taken = NodeCertificates::JoinToken;
        let proofs = ironic_shim::agents::Proofs::new(gateway.path());
        let labels = Arc::new(ironic_shim::fleet::Fleet::unlisted());
        let tls = ClientTls {
            pin: Some(pin),
            clock: ServerClock::new(SetClock::new(machine)),
            ..ClientTls::default()
        };
        let issuer = Arc::new(SimulatedIssuer {
            enrolment: Enrolment::new(authority, taken, tokens, proofs, labels),
            token: token.clone(),
            clock,
            shown: tls.certificate.clone(),
            renewals: AtomicUsize::default(),
            calls: AtomicUsize::default(),
        });
        let settings = IdentitySettings {
            join_token: Some(token),
            has_own_certificate: false,
            needs_time: true,
            clock: tls.clock.clone(),
            memory: CertificateMemory::new(agent.path(), &PathPrefix::new(agent.path())),
        };
        let backoff = Backoff::new(rand::make_rng::<StdRng>());
        let shared = Arc::clone(&issuer) as Arc<dyn CertificateIssuer>;
        let mut keeper = IdentityKeeper::new(shared, settings, backoff, rand::make_rng::<StdRng>());
        keeper.before_lookup().await;
        assert_eq!(keeper.node_uuid(), Some(NODE));
        let keeping = tokio::spawn(keeper.keep());
        let end = tokio::time::Instant::now() + Duration::from_secs(24 * 3600);
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(7 * 60)).await;
            let connected = handshake(&issuer, &tls).await;
            assert_eq!(
                connected,
                Ok(()),
                "clock at {machine}, {:?} before the end",
                end - tokio::time::Instant::now()
            );
        }
        keeping.abort();
        let renewals = issuer.renewals.load(Ordering::Relaxed);
        assert!(
            (36..=41).contains(&renewals),
            "{renewals} renewals of 1 h certificates in a day"
        );
    }
}

/// OpenSSL as a second opinion.
#[tokio::test]
async fn openssl_finds_one_name_and_verifies_the_chain() {
    let Some(programs) = std::env::var_os("TEST_PROGRAMS") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "TEST_PROGRAMS is not set in CI"
        );
        eprintln!("SKIPPED: needs TEST_PROGRAMS; run `make unit`");
        return;
    };
    let gateway = Gateway::new(NodeCertificates::JoinToken).await;
    let token = gateway.token(Some(NODE), Duration::from_secs(60));
    let proof = Proof::JoinToken(token.reveal().to_owned());
    let issued = gateway.enroll(proof, "", request().1).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let leaf = folder.path().join("leaf.der");
    fs::write(&leaf, &issued.chain[0]).unwrap();
    let openssl = |arguments: &[&str]| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the agent does not run this program"
        )]
        let mut command = std::process::Command::new(Path::new(&programs).join("openssl"));
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let leaf_pem = folder.path().join("leaf.pem");
    let (leaf, pem) = (leaf.to_str().unwrap(), leaf_pem.to_str().unwrap());
    openssl(&["x509", "-inform", "DER", "-in", leaf, "-out", pem]);
    let authority = gateway.state.path().join("nodes-ca.crt");
    let authority = authority.to_str().unwrap();
    let said = openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        authority,
        pem,
    ]);
    assert!(said.ends_with("OK\n"), "{said}");
    let names = openssl(&["x509", "-in", pem, "-noout", "-ext", "subjectAltName"]);
    let expected = format!("URI:spiffe://127.0.0.1/node/{NODE}");
    assert_eq!(names.lines().last().unwrap().trim(), expected);
}

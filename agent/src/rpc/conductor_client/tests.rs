//! The client against a conductor in this process, over a real socket.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex};

use ironic_agent_protocol::v1::conductor_service_server::{
    ConductorService, ConductorServiceServer,
};
use ironic_document::JsonObject;
use ironic_program::CommonSettings;
use ironic_text::Secret;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity};
use tonic::{Request, Response};

use ironic_text::error_chain;

use super::*;
use crate::conductor::ConductorError;
use crate::config::SessionOverrides;
use ironic_transport::Endpoint;

/// What the conductor does with one beat.
#[derive(Debug, Clone)]
enum Act {
    Say(v1::HeartbeatVerdict),
    /// Another sequence number first, then garbage for a verdict.
    Garbage,
    Mute,
    Fail(Status),
    End,
}

#[derive(Debug, Clone, Default)]
struct Fake {
    seen: Arc<StdMutex<Vec<String>>>,
    acts: Arc<StdMutex<VecDeque<Act>>>,
    /// Never answers a unary call.
    mute: bool,
}

impl Fake {
    fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let acts = Arc::new(StdMutex::new(acts.into_iter().collect()));
        Self {
            acts,
            ..Self::default()
        }
    }

    fn saw(&self, what: impl Into<String>) {
        self.seen.lock().unwrap().push(what.into());
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ConductorService for Fake {
    async fn lookup(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        if self.mute {
            std::future::pending::<()>().await;
        }
        let request = request.into_inner();
        self.saw(format!(
            "lookup {:?} {}",
            request.addresses, request.node_uuid
        ));
        let retry = v1::LookupRetry {
            refusal: v1::LookupRefusal::Conflict.into(),
            reason: "locked".into(),
            retry_after: None,
        };
        let outcome = Some(v1::lookup_response::Outcome::Retry(retry));
        Ok(Response::new(v1::LookupResponse { outcome }))
    }

    type HeartbeatStream = Responses<v1::HeartbeatResponse>;

    async fn heartbeat(
        &self,
        request: Request<Streaming<v1::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let mut requests = request.into_inner();
        let fake = self.clone();
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                use v1::heartbeat_request::Message;
                let beat = match request.message.unwrap() {
                    Message::Hello(hello) => {
                        fake.saw(format!("hello {} {}", hello.node_uuid, hello.agent_token));
                        continue;
                    }
                    Message::Farewell(farewell) => {
                        fake.saw(format!("farewell {:?}", farewell.reason()));
                        return;
                    }
                    Message::KeepAlive(_) => {
                        fake.saw("keep-alive".to_owned());
                        continue;
                    }
                    Message::Beat(beat) => beat,
                };
                fake.saw(format!("beat {} {}", beat.sequence, beat.forced));
                let act = fake.acts.lock().unwrap().pop_front();
                let say = |sequence, verdict: i32| v1::HeartbeatResponse {
                    sequence,
                    verdict,
                    status: 202,
                    reason: "why".into(),
                    retry_after: None,
                };
                let sent = match act.unwrap_or(Act::Say(v1::HeartbeatVerdict::Accepted)) {
                    Act::Say(verdict) => sender.send(Ok(say(beat.sequence, verdict.into()))).await,
                    Act::Garbage => {
                        sender.send(Ok(say(beat.sequence + 7, 1))).await.unwrap();
                        sender.send(Ok(say(beat.sequence, 42))).await
                    }
                    Act::Mute => Ok(()),
                    Act::Fail(status) => sender.send(Err(status)).await,
                    Act::End => return,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn submit_inspection(
        &self,
        request: Request<v1::SubmitInspectionRequest>,
    ) -> Result<Response<v1::SubmitInspectionResponse>, Status> {
        let size = request.into_inner().encoded_len();
        self.saw(format!("report {}", size > 8 * 1024 * 1024));
        Ok(Response::new(v1::SubmitInspectionResponse {
            verdict: v1::InspectionVerdict::Accepted.into(),
            node_uuid: "U".into(),
            reason: String::new(),
            retry_after: None,
        }))
    }

    type AttachStream = Responses<v1::AttachResponse>;

    async fn attach(
        &self,
        _request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// A served fake. Dropping it kills the connections, as a shim that dies does.
struct Served {
    _kill: tokio_util::sync::DropGuard,
    config: AgentConfig,
    _directory: tempfile::TempDir,
}

fn serve_at(fake: &Fake, path: &Path) -> tokio_util::sync::DropGuard {
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path).unwrap();
    let kill = CancellationToken::new();
    let killed = kill.clone();
    let service =
        ConductorServiceServer::new(fake.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let server = tonic::transport::Server::builder().add_service(service);
    // A runtime of its own, so that its connections die with it.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = listener.into_std().unwrap();
            let listener = UnixListener::from_std(listener).unwrap();
            tokio::select! {
                () = killed.cancelled() => {}
                result = server.serve_with_incoming(UnixListenerStream::new(listener)) => result.unwrap(),
            }
        });
    });
    kill.drop_guard()
}

fn serve(fake: &Fake) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("conductor.sock");
    let config = AgentConfig {
        conductor: Endpoint::Unix(path.clone()).into(),
        ..AgentConfig::default()
    };
    Served {
        _kill: serve_at(fake, &path),
        config,
        _directory: directory,
    }
}

fn client(served: &Served) -> ConductorClient {
    ConductorClient::new(&served.config, None).unwrap()
}

fn hello() -> SessionOpen {
    SessionOpen {
        node_uuid: "U".into(),
        agent_token: Some(Secret::new("T")),
        overrides: SessionOverrides::default(),
    }
}

fn beat(forced: bool) -> Heartbeat {
    Heartbeat {
        forced,
        status_message: "write_image /dev/sda: 63 %".into(),
    }
}

fn object(value: Value) -> JsonObject {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn unary_calls_pass() {
    let fake = Fake::default();
    let served = serve(&fake);
    let client = client(&served);
    let question = LookupRequest {
        addresses: vec!["aa:bb".into(), "cc:dd".into()],
        system_uuid: "1d4b".into(),
        serial_number: "S1".into(),
        node_uuid: Some("U".into()),
    };
    let answer = client.lookup(question).await;
    assert_eq!(
        answer,
        LookupOutcome::Retry {
            conflict: true,
            error: ConductorError::Said("locked".into())
        }
    );
    let submission = client
        .submit_inspection(object(json!({"logs": "x".repeat(9_000_000)})))
        .await;
    assert_eq!(
        submission,
        InspectionOutcome::Accepted {
            node_uuid: Some("U".into())
        }
    );
    assert_eq!(
        fake.seen(),
        [r#"lookup ["aa:bb", "cc:dd"] U"#, "report true"]
    );
}

#[tokio::test]
async fn a_report_that_cannot_be_sent_is_refused_with_the_reason() {
    let fake = Fake::default();
    let served = serve(&fake);
    let client = client(&served);
    let too_exact = object(json!({"inventory": {"size": 9_007_199_254_740_993_u64}}));
    let too_large = object(json!({"logs": "x".repeat(MAX_MESSAGE_BYTES)}));
    for (report, reason_part) in [(too_exact, "report.inventory.size"), (too_large, "limit")] {
        let submission = client.submit_inspection(report).await;
        let InspectionOutcome::Refused(error) = &submission else {
            panic!("{submission:?}")
        };
        let reason = error_chain(error);
        assert!(reason.contains(reason_part), "{reason}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_session_says_hello_beats_and_says_farewell() {
    use v1::HeartbeatVerdict as V;
    let fake = Fake::new([Act::Say(V::Accepted), Act::Say(V::Conflict), Act::Garbage]);
    let served = serve(&fake);
    let client = client(&served);
    let mut session = client.open(hello()).await.unwrap();
    assert_eq!(session.beat(beat(false)).await, Ok(Verdict::Accepted));
    assert_eq!(
        session.beat(beat(true)).await,
        Ok(Verdict::Conflict {
            reason: "why".into()
        })
    );
    assert!(matches!(
        session.beat(beat(false)).await,
        Ok(Verdict::Refused { .. })
    ));
    session.farewell(ShutdownReason::LockedDown).await;
    assert_eq!(
        fake.seen(),
        [
            "hello U T",
            "beat 1 false",
            "beat 2 true",
            "beat 3 false",
            "farewell LockedDown"
        ]
    );
}

#[tokio::test]
async fn a_session_that_ends_is_lost_and_another_one_counts_from_one() {
    let fake = Fake::new([
        Act::Fail(Status::unavailable("draining")),
        Act::End,
        Act::Say(v1::HeartbeatVerdict::Accepted),
    ]);
    let served = serve(&fake);
    let client = client(&served);
    let mut session = client.open(hello()).await.unwrap();
    let reason = error_chain(&session.beat(beat(false)).await.unwrap_err());
    assert!(reason.contains("draining"), "{reason}");
    let mut session = client.open(hello()).await.unwrap();
    assert!(session.beat(beat(false)).await.is_err());
    let mut session = client.open(hello()).await.unwrap();
    assert_eq!(session.beat(beat(false)).await, Ok(Verdict::Accepted));
    assert_eq!(
        fake.seen()
            .iter()
            .filter(|line| *line == "beat 1 false")
            .count(),
        3
    );
}

#[tokio::test]
async fn a_conductor_that_dies_is_noticed_while_idle_and_found_again() {
    let fake = Fake::default();
    let served = serve(&fake);
    let client = client(&served);
    let [Endpoint::Unix(path)] = served.config.conductor.all() else {
        panic!("a socket")
    };
    let path = path.clone();
    let mut session = client.open(hello()).await.unwrap();
    assert_eq!(session.beat(beat(false)).await, Ok(Verdict::Accepted));
    let Served {
        _kill, _directory, ..
    } = served;
    drop(_kill);
    session.lost().await;
    // Until the server is back, every attempt fails at once and says where.
    let Err(lost) = client.open(hello()).await else {
        panic!("nobody is there")
    };
    let reason = error_chain(&lost);
    assert!(
        reason.contains(path.to_str().unwrap()) || reason.contains("Unavailable"),
        "{reason}"
    );
    let _kill = serve_at(&fake, &path);
    let mut session = loop {
        // The first attempt may still meet the dead connection; each failure drops it.
        if let Ok(session) = client.open(hello()).await {
            break session;
        }
    };
    assert_eq!(session.beat(beat(false)).await, Ok(Verdict::Accepted));
}

#[tokio::test]
async fn a_mute_conductor_is_given_up_in_time() {
    let fake = Fake {
        mute: true,
        ..Fake::default()
    };
    let served = serve(&fake);
    let client = ConductorClient {
        deadline: Duration::from_millis(200),
        ..client(&served)
    };
    let LookupOutcome::Retry {
        conflict: false,
        error,
    } = client.lookup(LookupRequest::default()).await
    else {
        panic!("answered")
    };
    let reason = error_chain(&error);
    assert!(reason.ends_with("no answer within 0.2 s"), "{reason}");

    // One that accepts the connection and says nothing at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let conductor = Endpoint::Http(format!("http://{}", listener.local_addr().unwrap()));
    let config = AgentConfig {
        conductor: conductor.into(),
        ..AgentConfig::default()
    };
    let client = ConductorClient {
        deadline: Duration::from_millis(200),
        ..ConductorClient::new(&config, None).unwrap()
    };
    let Err(lost) = client.open(hello()).await else {
        panic!("opened")
    };
    let reason = error_chain(&lost);
    assert!(reason.ends_with("no answer within 0.2 s"), "{reason}");
}

#[tokio::test]
async fn a_verdict_that_never_comes_leaves_the_caller_in_charge() {
    let fake = Fake::new([Act::Mute]);
    let served = serve(&fake);
    let mut session = client(&served).open(hello()).await.unwrap();
    let beat = tokio::time::timeout(Duration::from_millis(100), session.beat(beat(false))).await;
    assert!(beat.is_err());
}

#[tokio::test]
async fn plain_tcp_works() {
    let fake = Fake::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        tonic::transport::Server::builder().add_service(ConductorServiceServer::new(fake.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let conductor = Endpoint::Http(format!("http://{address}"));
    let config = AgentConfig {
        conductor: conductor.into(),
        ..AgentConfig::default()
    };
    let client = ConductorClient::new(&config, None).unwrap();
    let mut session = client.open(hello()).await.unwrap();
    assert_eq!(session.beat(beat(true)).await, Ok(Verdict::Accepted));
}

#[tokio::test]
async fn wrong_tls_options_are_named() {
    let conductor: Endpoint = "https://127.0.0.1:1".parse().unwrap();
    let config = AgentConfig {
        conductor: conductor.into(),
        ..AgentConfig::default()
    };
    let error = error_chain(&ConductorClient::new(&config, None).unwrap_err());
    assert!(error.contains("needs grpc_tls_ca_file"), "{error}");
    let config = AgentConfig {
        common: CommonSettings {
            grpc_tls_ca_file: Some("/nowhere".into()),
            ..config.common.clone()
        },
        ..config
    };
    let error = error_chain(&ConductorClient::new(&config, None).unwrap_err());
    assert!(
        error.contains("option grpc_tls_ca_file: /nowhere"),
        "{error}"
    );
}

/// A certificate of `ca` for 127.0.0.1, as files in `directory`.
fn certificate(
    ca: &rcgen::Issuer<'_, rcgen::KeyPair>,
    directory: &Path,
    name: &str,
) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let (cert_file, key_file) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    fs::write(&cert_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    (cert_file, key_file)
}

#[tokio::test]
async fn tls_is_mutual() {
    let directory = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let file = directory.path().join(name);
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        (rcgen::Issuer::new(params, key), file)
    };
    let ((ca, ca_file), (_, other_ca_file)) = (authority("ca.crt"), authority("other.crt"));
    let (server_cert, server_key) = certificate(&ca, directory.path(), "server");
    let (client_cert, client_key) = certificate(&ca, directory.path(), "client");

    let pem = |file: &Path| fs::read(file).unwrap();
    let tls = tonic::transport::ServerTlsConfig::new()
        .identity(Identity::from_pem(pem(&server_cert), pem(&server_key)))
        .client_ca_root(Certificate::from_pem(pem(&ca_file)));
    let fake = Fake::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let conductor = Endpoint::Https(format!("https://{}", listener.local_addr().unwrap()));
    let mut server = tonic::transport::Server::builder().tls_config(tls).unwrap();
    let server = server.add_service(ConductorServiceServer::new(fake.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let good = AgentConfig {
        common: CommonSettings {
            grpc_tls_ca_file: Some(ca_file),
            grpc_tls_cert_file: Some(client_cert),
            grpc_tls_key_file: Some(client_key),
            ..CommonSettings::default()
        },
        conductor: conductor.into(),
        ..AgentConfig::default()
    };
    let mut session = ConductorClient::new(&good, None)
        .unwrap()
        .open(hello())
        .await
        .unwrap();
    assert_eq!(session.beat(beat(false)).await, Ok(Verdict::Accepted));

    let anonymous = AgentConfig {
        common: CommonSettings {
            grpc_tls_cert_file: None,
            grpc_tls_key_file: None,
            ..good.common.clone()
        },
        ..good.clone()
    };
    let misled = AgentConfig {
        common: CommonSettings {
            grpc_tls_ca_file: Some(other_ca_file),
            ..good.common.clone()
        },
        ..good
    };
    for config in [anonymous, misled] {
        let client = ConductorClient::new(&config, None).unwrap();
        let opened = client.open(hello()).await;
        let beaten = match opened {
            Ok(mut session) => session.beat(beat(false)).await,
            Err(lost) => Err(lost),
        };
        let reason = error_chain(&beaten.unwrap_err());
        assert!(!reason.contains(" T"), "no token in a reason: {reason}");
    }
    assert_eq!(fake.seen(), ["hello U T", "beat 1 false"]);
}

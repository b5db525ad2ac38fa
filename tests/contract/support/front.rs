//! A REST server in front of an agent.

use std::net::SocketAddr;

use ironic_shim::agents::{AgentKey, AgentRegistry, Registration};
use ironic_shim::rest::{CloseReason, RestListener, RestSettings};
use ironic_text::Secret;
use ironic_transport::Endpoint;
use ironic_transport::grpc::TlsFiles;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::agents::TOKEN;
use super::http::{Answer, Line};

/// A REST server. It stops when it is dropped.
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    /// The agents behind it.
    pub agents: AgentRegistry,
    /// How it ends.
    pub ending: JoinHandle<CloseReason>,
    _stop: DropGuard,
}

impl Front {
    /// A server for one agent, with the token that it holds.
    pub async fn before(agent: &Endpoint) -> Self {
        Self::with(agent, Some(TOKEN), RestSettings::default(), None).await
    }

    /// A server with every setting chosen.
    pub async fn with(
        agent: &Endpoint,
        token: Option<&str>,
        settings: RestSettings,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let front = Self::alone(settings, tls).await;
        front.know(AgentKey::Root, agent, token);
        front
    }

    /// A server that knows no agent yet.
    pub async fn alone(settings: RestSettings, tls: Option<TlsAcceptor>) -> Self {
        let agents = AgentRegistry::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = RestListener::new(agents.clone(), settings);
        let ending = tokio::spawn({
            let stop = stop.clone();
            async move { server.serve(listener, tls, stop).await }
        });
        Self {
            address,
            agents,
            ending,
            _stop: stop.drop_guard(),
        }
    }

    /// Introduces an agent.
    pub fn know(&self, key: AgentKey, agent: &Endpoint, token: Option<&str>) {
        if let (AgentKey::Node(node_uuid), Some(token)) = (&key, token) {
            self.agents.proofs().prove(node_uuid, token);
        }
        let registration = Registration {
            endpoint: agent.clone(),
            files: TlsFiles::default(),
            token: token.map(Secret::new),
            version: String::new(),
        };
        self.agents.register(key, registration).unwrap();
    }

    /// A connection.
    pub async fn line(&self) -> Line {
        Line::open(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        self.line().await.ask(method, target, "", body).await
    }

    /// GET.
    pub async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, b"").await
    }

    /// GET in a task of its own; it is on its way when this returns.
    pub async fn get_later(&self, target: &str) -> JoinHandle<Answer> {
        self.later(format!("GET {target} HTTP/1.1\r\nHost: shim\r\n\r\n"))
            .await
    }

    /// POST in a task of its own; it is on its way when this returns.
    pub async fn post_later(&self, target: &str, body: &str) -> JoinHandle<Answer> {
        self.later(format!(
            "POST {target} HTTP/1.1\r\nHost: shim\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    async fn later(&self, request: String) -> JoinHandle<Answer> {
        let mut line = self.line().await;
        line.send(request).await;
        tokio::spawn(async move { line.answer().await })
    }

    /// GET with the token.
    pub async fn look(&self, path: &str) -> Answer {
        self.get(&with_token(path)).await
    }

    /// The list of results.
    pub async fn list(&self) -> Vec<Value> {
        let answer = self.look("/v1/commands/").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["commands"].as_array().unwrap().clone()
    }

    /// Runs a command.
    pub async fn run(&self, name: &str, parameters: Value) -> Answer {
        self.post("/v1/commands/", name, parameters).await
    }

    /// Runs a command and waits for its end.
    pub async fn finish(&self, name: &str, parameters: Value) -> Answer {
        self.post("/v1/commands/?wait=true", name, parameters).await
    }

    /// Posts a command.
    pub async fn post(&self, path: &str, name: &str, parameters: Value) -> Answer {
        let body = json!({"name": name, "params": parameters}).to_string();
        self.ask("POST", &with_token(path), body.as_bytes()).await
    }
}

/// A target with the token in its query.
pub fn with_token(path: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}agent_token={TOKEN}")
}

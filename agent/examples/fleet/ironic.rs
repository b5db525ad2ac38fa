//! A stand-in for the Ironic API: it knows every machine of a fleet, and takes every heartbeat.
//!
//! Below `/fleet` it is steered: GET `/fleet` answers what has arrived since the last outage, POST
//! `/fleet/outage?SECONDS` begins one, POST `/fleet/restart?SHARE` ends that share of the agents
//! and starts them again.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::arrivals::Arrivals;

/// The stand-in.
#[derive(Debug)]
pub(crate) struct StandIn {
    /// What it tells agents, in seconds.
    pub(crate) heartbeat_timeout: u32,
    pub(crate) arrivals: Arc<Arrivals>,
    /// Takes the shares of the agents that are to be started again.
    pub(crate) restarts: mpsc::UnboundedSender<f64>,
}

/// Serves at `address`.
pub(crate) async fn serve(address: SocketAddr, stand_in: StandIn) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let stand_in = Arc::new(stand_in);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stand_in = Arc::clone(&stand_in);
            let service = service_fn(move |request| {
                let answer = stand_in.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let serving = async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                // A client that hangs up is not worth a line.
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            };
            tokio::spawn(serving);
        }
    });
    Ok(())
}

impl StandIn {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (path, query) = (request.uri().path(), request.uri().query());
        let query = query.unwrap_or_default();
        let (status, body) = match path {
            "/fleet" => (StatusCode::OK, self.arrivals.document()),
            _ if path.starts_with("/fleet/") => self.steer(request.method(), path, query),
            _ if self.arrivals.is_outage() => unavailable(),
            "/" => (StatusCode::OK, root()),
            "/v1/lookup" => lookup(query, self.heartbeat_timeout),
            _ => match path.strip_prefix("/v1/heartbeat/") {
                Some(_) if self.arrivals.accept() => (StatusCode::ACCEPTED, Value::Null),
                Some(_) => unavailable(),
                None => (StatusCode::NOT_FOUND, json!({"error_message": "not found"})),
            },
        };
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response
    }

    /// Does what the one who measures asks for.
    fn steer(&self, method: &Method, path: &str, query: &str) -> (StatusCode, Value) {
        let number = query.parse::<f64>().ok();
        let number = number.filter(|number| *method == Method::POST && *number >= 0.0);
        let done = match (path, number) {
            ("/fleet/outage", Some(seconds)) => Duration::try_from_secs_f64(seconds)
                .map(|duration| self.arrivals.begin_outage(duration))
                .is_ok(),
            ("/fleet/restart", Some(share)) => self.restarts.send(share).is_ok(),
            _ => false,
        };
        if done {
            return (StatusCode::OK, Value::Null);
        }
        let usage = "POST /fleet/outage?SECONDS or /fleet/restart?SHARE";
        (StatusCode::BAD_REQUEST, json!({"error_message": usage}))
    }
}

fn unavailable() -> (StatusCode, Value) {
    let body = json!({"error_message": "an outage"});
    (StatusCode::SERVICE_UNAVAILABLE, body)
}

fn root() -> Value {
    let version = json!({"id": "v1", "version": "1.99", "min_version": "1.1"});
    json!({"default_version": version, "versions": [version]})
}

/// The node of the address that is asked for. The last four octets are its number.
fn lookup(query: &str, heartbeat_timeout: u32) -> (StatusCode, Value) {
    let addresses = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("addresses="));
    let octets: Option<Vec<&str>> =
        addresses.map(|text| text.split("%3A").flat_map(|part| part.split(':')).collect());
    let Some([_, _, a, b, c, d]) = octets.as_deref() else {
        return (
            StatusCode::NOT_FOUND,
            json!({"error_message": "one address"}),
        );
    };
    let number = format!("{a}{b}{c}{d}");
    let node = json!({
        "uuid": format!("00000000-0000-4000-8000-0000{number}"),
        "properties": {},
        "instance_info": {},
        "driver_internal_info": {},
    });
    let config = json!({
        "heartbeat_timeout": heartbeat_timeout,
        "agent_token": format!("token-of-the-simulated-machine-{number}"),
        "agent_token_required": true,
    });
    (StatusCode::OK, json!({"node": node, "config": config}))
}

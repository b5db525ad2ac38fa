//! A stand-in for the Ironic API: it knows every machine of a fleet, and takes every heartbeat.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves at `address`, and counts the heartbeats in `beats`.
pub(crate) async fn serve(
    address: SocketAddr,
    heartbeat_timeout: u32,
    beats: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let beats = Arc::clone(&beats);
            let service = service_fn(move |request| {
                let answer = answer(&request, heartbeat_timeout, &beats);
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

fn answer(
    request: &Request<Incoming>,
    heartbeat_timeout: u32,
    beats: &AtomicU64,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (status, body) = match path {
        "/" => (StatusCode::OK, root()),
        "/v1/lookup" => lookup(request.uri().query().unwrap_or_default(), heartbeat_timeout),
        _ if path.starts_with("/v1/heartbeat/") => {
            beats.fetch_add(1, Ordering::Relaxed);
            (StatusCode::ACCEPTED, Value::Null)
        }
        _ => (StatusCode::NOT_FOUND, json!({"error_message": "not found"})),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response
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

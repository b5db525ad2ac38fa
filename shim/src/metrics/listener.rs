//! The listener of monitoring: plain HTTP, for a network of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ironic_transport::Listen;
use ironic_transport::grpc::{self, BindError, Bound};
use ironic_transport::listener::{Connection, ConnectionLimits};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::readiness::{Readiness, ReadinessLevel};
use super::{Metrics, Observe};

/// A monitoring system, a load balancer and a few people.
const LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 1,
    unauthenticated: 32,
    per_peer: 16,
    wait: Duration::from_secs(30),
    stall: Duration::from_secs(10),
};

/// How long the head of a request may take, or the next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The address of `metrics_listen` cannot be used.
#[derive(Debug, Error)]
#[error("option metrics_listen")]
pub struct MetricsListenError(#[from] BindError);

/// A listener that is open.
#[derive(Debug)]
pub struct MetricsListener {
    bound: Bound,
    /// Where it listens; the port is the real one.
    pub listen: Listen,
}

/// What answers requests. Cheap to clone.
#[derive(Debug, Clone)]
struct MetricsService {
    metrics: Metrics,
    observer: Arc<dyn Observe>,
}

impl MetricsListener {
    /// Opens the listener.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(listen: &Listen) -> Result<Self, MetricsListenError> {
        let (bound, listen) = grpc::bind(listen, "metrics", LIMITS).await?;
        info!(%listen, "metrics are served without TLS and to everybody who reaches them");
        Ok(Self { bound, listen })
    }

    /// Answers until `stop` is cancelled.
    pub async fn serve(
        self,
        metrics: Metrics,
        observer: Arc<dyn Observe>,
        stop: CancellationToken,
    ) {
        let service = MetricsService { metrics, observer };
        let serving = async {
            match self.bound {
                Bound::Tcp(listener) => service.accept(listener.into_stream()).await,
                Bound::Unix(listener) => service.accept(listener.into_stream()).await,
            }
        };
        stop.run_until_cancelled(serving).await;
    }
}

impl MetricsService {
    /// Serves each connection in a task of its own. They are few, and each has its deadlines.
    async fn accept<S>(self, connections: impl Stream<Item = std::io::Result<Connection<S>>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + std::os::fd::AsFd + 'static,
    {
        let mut connections = std::pin::pin!(connections);
        while let Some(Ok(connection)) = connections.next().await {
            tokio::spawn(self.clone().converse(connection));
        }
    }

    async fn converse<S>(self, connection: Connection<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + std::os::fd::AsFd + 'static,
    {
        let slot = connection.slot().clone();
        let answering = service_fn(move |request| {
            slot.serving();
            let response = self.answer(&request);
            slot.waiting();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(connection), answering);
        if let Err(error) = served.await {
            debug!(%error, "a connection to the metrics");
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused =
                response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n".into());
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        match request.uri().path() {
            "/metrics" => {
                let text = self.metrics.text(&self.observer.observe());
                response(StatusCode::OK, OPEN_METRICS, text)
            }
            // Whether the process lives: it does.
            "/healthz" => response(StatusCode::OK, JSON, "{\"status\": \"alive\"}\n".into()),
            "/readyz" => {
                let readiness = Readiness::of(&self.observer.observe());
                let status = match readiness.level() {
                    ReadinessLevel::Ready | ReadinessLevel::Degraded => StatusCode::OK,
                    ReadinessLevel::Unready => StatusCode::SERVICE_UNAVAILABLE,
                };
                response(status, JSON, format!("{}\n", readiness.document()))
            }
            _ => {
                let text = "there are /metrics, /healthz and /readyz\n";
                response(StatusCode::NOT_FOUND, TEXT, text.into())
            }
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

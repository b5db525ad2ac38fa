//! The channel to an agent that listens: it connects when it is used, and connects again when it
//! is broken.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use ironic_transport::Endpoint;
use ironic_transport::grpc::{Dialer, InvalidEndpoint, TlsFiles};
use tonic::transport::{Channel, Uri};

/// How long TCP and TLS together may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that does not answer a ping for this long is gone. Pings no faster than this:
/// proxies hang up on those who ping more often.
const PING_PERIOD: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Must be called within a runtime.
///
/// # Errors
/// The address or the files make no sense.
pub fn channel(endpoint: &Endpoint, files: &TlsFiles) -> Result<Channel, InvalidEndpoint> {
    let dialer = Dialer::new(endpoint, files)?;
    // Of this address only the host is used, and that as a name in requests.
    let transport = Channel::builder(dialer.authority())
        .http2_keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    let connector = tower::service_fn(move |_: Uri| {
        let dialer = dialer.clone();
        async move { dialer.dial(CONNECT_TIMEOUT, |_| ()).await.map(TokioIo::new) }
    });
    Ok(transport.connect_with_connector_lazy(connector))
}

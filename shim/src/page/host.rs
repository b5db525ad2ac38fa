//! Which hosts a request over plain HTTP may name.
//!
//! A page from elsewhere whose name is made to point here (DNS rebinding) would have the operator's
//! browser read ours for it. Such a request names a host that is not ours. With TLS the
//! certificates prevent it, and a browser reaches no socket in the file system.

use std::net::IpAddr;

use http::Request;
use http::header::HOST;
use http::uri::Authority;

/// Whether a request names an address, this machine or `own`.
pub(super) fn is_ours<B>(request: &Request<B>, own: &str) -> bool {
    let authority = request.uri().authority().cloned().or_else(|| {
        let named = request.headers().get(HOST)?.to_str().ok()?;
        named.parse::<Authority>().ok()
    });
    authority.is_some_and(|authority| {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || host.eq_ignore_ascii_case(own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_host_header_is_refused() {
        let is_ours = |host: Option<&str>| {
            let mut request = Request::new(());
            if let Some(host) = host {
                request.headers_mut().insert(HOST, host.parse().unwrap());
            }
            super::is_ours(&request, "gw.example")
        };
        for ours in [
            "127.0.0.1:9995",
            "[::1]:9995",
            "10.0.0.7",
            "localhost:9995",
            "LOCALHOST",
            "gw.example:9995",
            "GW.example",
        ] {
            assert!(is_ours(Some(ours)), "{ours}");
        }
        for other in [
            "evil.example",
            "gw.example.evil.example:9995",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "a b",
        ] {
            assert!(!is_ours(Some(other)), "{other}");
        }
        assert!(!is_ours(None));
        // HTTP/2 names it in the URL.
        let request = Request::builder().uri("http://evil.example/events");
        assert!(!super::is_ours(&request.body(()).unwrap(), "gw.example"));
    }
}

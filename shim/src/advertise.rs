//! Which address Ironic is given: the one from which this machine reaches Ironic.
//!
//! Unlike the Python agent, which asks `ip route get`, the kernel is asked directly: a UDP
//! socket that is connected (nothing is sent) tells which source address the route has.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ironic_text::error_chain;
use ironic_transport::tls::{TlsSettings, client_config};
use reqwest::{Client, Url};
use thiserror::Error;
use tracing::{info, warn};

use crate::config::ShimConfig;

/// Why there is no address to give.
#[derive(Debug, Error)]
pub enum AdvertiseError {
    /// `network_interface` has no IPv4 address.
    #[error("the interface {0}, named by option network_interface, has no IPv4 address")]
    Interface(String),
    /// The kernel does not list the interfaces.
    #[error("the addresses of the interface {interface} cannot be read")]
    Interfaces {
        /// The option's value.
        interface: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No address answers.
    #[error(
        "no address of Ironic can be reached: check the option api_url and the network ({})",
        error_chain(.0)
    )]
    Unreachable(#[source] reqwest::Error),
    /// There is no address to try.
    #[error("no address of Ironic is known: set the option api_url")]
    NoAddress,
    /// No route has a usable source address.
    #[error(
        "Agent could not find a valid IP address. Set advertise_host or check the routes to {0}"
    )]
    NoRoute(String),
    /// The HTTP client cannot be set up.
    #[error("the reachability of Ironic cannot be probed")]
    Client(#[from] reqwest::Error),
}

/// The host to put into the callback URL: an option's text as it is, or an address.
///
/// # Errors
/// See [`AdvertiseError`]; none of them is retried beyond `ip_lookup_attempts` rounds.
pub async fn host(config: &ShimConfig, api_urls: &[String]) -> Result<String, AdvertiseError> {
    if let Some(host) = &config.advertise_host {
        return Ok(host.clone());
    }
    if let Some(interface) = &config.network_interface {
        return ipv4_address(interface)?
            .map(|address| address.to_string())
            .ok_or_else(|| AdvertiseError::Interface(interface.clone()));
    }
    let reachable = reachable(api_urls, config.common.http_request_timeout).await?;
    let addresses = resolved(&reachable).await;
    for round in 1..=config.ip_lookup_attempts {
        if let Some(address) = first_usable(addresses.iter().filter_map(|to| source_address(*to))) {
            info!(%address, "Ironic reaches this machine at");
            return Ok(address.to_string());
        }
        warn!(round, "no route to Ironic has a usable address yet");
        tokio::time::sleep(config.ip_lookup_sleep).await;
    }
    Err(AdvertiseError::NoRoute(reachable.join(", ")))
}

/// The first IPv4 address of an interface.
fn ipv4_address(interface: &str) -> Result<Option<Ipv4Addr>, AdvertiseError> {
    let addresses = if_addrs::get_if_addrs().map_err(|source| AdvertiseError::Interfaces {
        interface: interface.to_owned(),
        source,
    })?;
    let mut own = addresses.iter().filter(|address| address.name == interface);
    Ok(own.find_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }))
}

/// `host` as it stands in a URL: an IPv6 address goes in brackets.
#[must_use]
pub fn in_url(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// The URLs behind which anything answers HTTP. Nobody's certificate is verified here: no
/// secret is sent, and the question is only whether there is a way.
async fn reachable(urls: &[String], timeout: Duration) -> Result<Vec<String>, AdvertiseError> {
    let tls = client_config(&TlsSettings {
        insecure: true,
        ..TlsSettings::default()
    });
    let mut builder = Client::builder()
        .connect_timeout(timeout)
        .read_timeout(timeout);
    if let Ok(tls) = tls {
        builder = builder.tls_backend_preconfigured(tls);
    }
    let client = builder.build()?;
    let mut answered = Vec::new();
    let mut failure = AdvertiseError::NoAddress;
    for url in urls {
        match client.get(url).send().await {
            Ok(_) => answered.push(url.clone()),
            Err(error) => {
                warn!(%url, %error, "this address of Ironic is not reachable");
                failure = AdvertiseError::Unreachable(error);
            }
        }
    }
    if answered.is_empty() {
        Err(failure)
    } else {
        Ok(answered)
    }
}

async fn resolved(urls: &[String]) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for url in urls {
        let Some(host) = Url::parse(url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
        else {
            continue;
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((bare, 80)).await {
            Ok(found) => addresses.extend(found.map(|address| address.ip())),
            Err(error) => warn!(%host, %error, "the name of Ironic's host is not known"),
        }
    }
    addresses
}

/// The source address of the route to `destination`.
pub(crate) fn source_address(destination: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match destination {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    // The discard port; connecting a UDP socket sends nothing.
    socket.connect(SocketAddr::new(destination, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The first address that others can use: not link-local, not unspecified.
fn first_usable(candidates: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    candidates.into_iter().find(|address| match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_unspecified(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(attempts: u32) -> ShimConfig {
        ShimConfig {
            ip_lookup_attempts: attempts,
            ..ShimConfig::default()
        }
    }

    #[test]
    fn link_local_addresses_are_passed_over() {
        let all = [
            "fe80::1",
            "169.254.1.1",
            "0.0.0.0",
            "192.0.2.7",
            "192.0.2.8",
        ];
        let found = first_usable(all.iter().map(|text| text.parse().unwrap()));
        assert_eq!(found, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(first_usable(["fe80::1".parse().unwrap()].into_iter()), None);
    }

    #[test]
    fn addresses_of_version_6_stand_in_brackets() {
        assert_eq!(in_url("fc00:1111::4"), "[fc00:1111::4]");
        assert_eq!(in_url("192.0.2.7"), "192.0.2.7");
        assert_eq!(in_url("node.example"), "node.example");
    }

    #[tokio::test]
    async fn an_address_that_is_configured_is_not_searched() {
        let config = ShimConfig {
            advertise_host: Some("198.51.100.4".into()),
            ..config(1)
        };
        assert_eq!(host(&config, &[]).await.unwrap(), "198.51.100.4");
    }

    #[tokio::test]
    async fn an_interface_without_an_address_is_a_failure_that_names_it() {
        let config = ShimConfig {
            network_interface: Some("no-such-interface".into()),
            ..config(1)
        };
        let error = host(&config, &[]).await.unwrap_err();
        assert!(error.to_string().contains("no-such-interface"), "{error}");
    }

    #[tokio::test]
    async fn any_http_answer_makes_a_url_reachable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            while let Ok((mut peer, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = peer.read(&mut request).await;
                let answer =
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = peer.write_all(answer).await;
            }
        });
        assert_eq!(host(&config(1), &[url]).await.unwrap(), "127.0.0.1");
    }

    #[tokio::test]
    async fn without_a_reachable_ironic_there_is_no_search() {
        // Port 1 of the loopback address refuses at once.
        let error = host(&config(6), &["http://127.0.0.1:1".into()])
            .await
            .unwrap_err();
        assert!(matches!(error, AdvertiseError::Unreachable(_)), "{error}");
    }
}

//! Finding Ironic by multicast DNS, only when it is asked for.
//!
//! OpenStack publishes `baremetal._openstack._tcp.local.` as both the type and the instance.
//! What a record means is decided by [`service`], from data alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ironic_agent::config::Config;
use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent};
use thiserror::Error;
use tracing::{info, warn};

/// How long one attempt listens.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause after the first attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The services that OpenStack publishes for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The Ironic API.
    Baremetal,
    /// The inspection service.
    Introspection,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Baremetal => "baremetal._openstack._tcp.local.",
            Self::Introspection => "baremetal-introspection._openstack._tcp.local.",
        }
    }
}

/// What a record told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// `protocol://host:port` and path.
    pub url: String,
    /// Options that the record changes: name and value.
    pub overrides: Vec<(String, String)>,
}

/// Why nothing was found.
#[derive(Debug, Error)]
pub enum DiscoverError {
    /// Multicast DNS cannot be used.
    #[error("multicast DNS cannot be used: {0}")]
    Daemon(#[from] mdns_sd::Error),
    /// Nobody answered.
    #[error("no {0} answered by multicast DNS; set the option api_url to an address")]
    Silence(&'static str),
    /// Somebody answered nonsense.
    #[error("the multicast DNS record of {name} cannot be used: {reason}")]
    Record {
        /// The service.
        name: &'static str,
        /// Why.
        reason: &'static str,
    },
}

/// Asks the network for a service.
///
/// # Errors
/// Nobody answers within `mdns.lookup_attempts` attempts, or what answers is no use.
pub async fn find(service: Service, config: &Config) -> Result<Discovered, DiscoverError> {
    let daemon = ServiceDaemon::new()?;
    if !config.mdns.interfaces.is_empty() {
        daemon.disable_interface(IfKind::All)?;
        for interface in &config.mdns.interfaces {
            let kind = interface
                .parse::<IpAddr>()
                .map_or_else(|_| IfKind::Name(interface.clone()), IfKind::Addr);
            daemon.enable_interface(kind)?;
        }
    }
    let found = ask(&daemon, service, config.mdns.lookup_attempts.max(1)).await;
    // The thread behind it ends by itself; a daemon that is gone already is no news.
    let _ = daemon.shutdown();
    let record = found?;
    let addresses: Vec<IpAddr> = record.addresses.iter().map(|ip| ip.to_ip_addr()).collect();
    let text = record
        .txt_properties
        .iter()
        .map(|property| (property.key().to_owned(), property.val_str().to_owned()))
        .collect();
    let record = Record {
        host: record.host,
        port: record.port,
        addresses,
        text,
    };
    let discovered = record
        .read(&config.mdns.allowed_overrides, has_route)
        .map_err(|reason| DiscoverError::Record {
            name: service.name(),
            reason,
        })?;
    info!(url = %discovered.url, "found by multicast DNS");
    Ok(discovered)
}

async fn ask(
    daemon: &ServiceDaemon,
    service: Service,
    attempts: u32,
) -> Result<Box<ResolvedService>, DiscoverError> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=attempts {
        let events = daemon.browse(service.name())?;
        let answer = async {
            while let Ok(event) = events.recv_async().await {
                if let ServiceEvent::ServiceResolved(record) = event {
                    return Some(record);
                }
            }
            None
        };
        if let Ok(Some(record)) = tokio::time::timeout(PATIENCE, answer).await {
            return Ok(record);
        }
        // Asking again for the same name is what the next attempt does.
        let _ = daemon.stop_browse(service.name());
        warn!(
            service = service.name(),
            attempt, "no answer by multicast DNS"
        );
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(DiscoverError::Silence(service.name()))
}

fn has_route(address: IpAddr) -> bool {
    crate::advertise::source_address(address).is_some()
}

/// A resolved service record.
#[derive(Debug, Clone)]
struct Record {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
    text: BTreeMap<String, String>,
}

impl Record {
    fn read(
        mut self,
        allowed: &[String],
        has_route: impl Fn(IpAddr) -> bool,
    ) -> Result<Discovered, &'static str> {
        self.addresses.retain(|address| !address.is_loopback());
        self.addresses.sort();
        let address = self.addresses.iter().find(|address| has_route(**address));
        let address = address
            .or_else(|| self.addresses.first())
            .ok_or("it holds no address but loopback")?;
        let default = if self.port == 80 { "http" } else { "https" };
        let protocol = self
            .text
            .remove("protocol")
            .unwrap_or_else(|| default.to_owned());
        let path = self.text.remove("path").unwrap_or_default();
        let host = if self.host.ends_with(".local.") {
            crate::advertise::in_url(&address.to_string())
        } else {
            self.host.trim_end_matches('.').to_owned()
        };
        let mut overrides = Vec::new();
        for (key, value) in self.text {
            match key.strip_prefix("ipa_") {
                Some(option) if allowed.iter().any(|known| known == option) => {
                    overrides.push((option.to_owned(), value));
                }
                _ => warn!(%key, "a key of the multicast DNS record is ignored"),
            }
        }
        let path = path.trim_end_matches('/');
        Ok(Discovered {
            url: format!("{protocol}://{host}:{}{path}", self.port),
            overrides,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(host: &str, port: u16, addresses: &[&str], text: &[(&str, &str)]) -> Record {
        Record {
            host: host.into(),
            port,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            text: text
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
        }
    }

    #[test]
    fn records_become_urls() {
        let cases = [
            (
                record("ironic.local.", 6385, &["192.0.2.1"], &[]),
                "https://192.0.2.1:6385",
            ),
            (
                record("ironic.local.", 80, &["192.0.2.1"], &[]),
                "http://192.0.2.1:80",
            ),
            (
                record("ironic.local.", 443, &["fd00::1"], &[]),
                "https://[fd00::1]:443",
            ),
            (
                record(
                    "api.example.org.",
                    443,
                    &["192.0.2.1"],
                    &[("path", "/baremetal/")],
                ),
                "https://api.example.org:443/baremetal",
            ),
            (
                record(
                    "i.local.",
                    6385,
                    &["127.0.0.1", "192.0.2.1"],
                    &[("protocol", "http")],
                ),
                "http://192.0.2.1:6385",
            ),
        ];
        for (record, url) in cases {
            assert_eq!(record.read(&[], |_| true).unwrap().url, url);
        }
    }

    #[test]
    fn an_address_with_a_route_wins() {
        let record = record("i.local.", 6385, &["192.0.2.1", "198.51.100.1"], &[]);
        let routed: IpAddr = "198.51.100.1".parse().unwrap();
        let read = record
            .clone()
            .read(&[], |address| address == routed)
            .unwrap();
        assert_eq!(read.url, "https://198.51.100.1:6385");
        assert_eq!(
            record.read(&[], |_| false).unwrap().url,
            "https://192.0.2.1:6385"
        );
    }

    #[test]
    fn only_allowed_options_are_changed() {
        let text = [
            ("ipa_ntp_server", "ntp.example"),
            ("ipa_insecure", "1"),
            ("other", "x"),
        ];
        let record = record("i.local.", 6385, &["192.0.2.1"], &text);
        let read = record.read(&["ntp_server".into()], |_| true).unwrap();
        assert_eq!(
            read.overrides,
            [("ntp_server".to_owned(), "ntp.example".to_owned())]
        );
    }

    #[test]
    fn loopback_alone_is_no_service() {
        let record = record("i.local.", 6385, &["127.0.0.1", "::1"], &[]);
        assert!(record.read(&[], |_| true).is_err());
    }
}

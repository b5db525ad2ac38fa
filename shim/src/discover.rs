//! Finding Ironic by multicast DNS, only when it is asked for.
//!
//! OpenStack publishes `baremetal._openstack._tcp.local.` as both the type and the instance.
//! What a record means is decided by [`ServiceRecord`], from data alone.
//!
//! Any machine of the network may answer, and the first answer that makes sense counts: who
//! cannot trust the network verifies Ironic's certificate (`cafile`) or gives its address.
//! What makes none is passed over, so that a liar cannot keep the right answer from us, and no
//! part of an answer reaches an address or an option but by its own grammar.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent};
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::config::ShimConfig;

/// How long one attempt listens.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Pause after the first attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest text of a record that is used: an address or an option's value.
const MAX_TEXT_BYTES: usize = 1024;
/// Records that are looked at in one attempt.
const MAX_RECORDS: usize = 64;

/// The services that OpenStack publishes for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MdnsService {
    /// The Ironic API.
    Baremetal,
    /// The inspection service.
    Introspection,
}

impl MdnsService {
    fn name(self) -> &'static str {
        match self {
            Self::Baremetal => "baremetal._openstack._tcp.local.",
            Self::Introspection => "baremetal-introspection._openstack._tcp.local.",
        }
    }
}

/// What a record says.
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
    #[error(
        "no multicast DNS record of {name} can be used, of the last one {reason}; set the option api_url to an address"
    )]
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
/// Nobody answers within `mdns.lookup_attempts` attempts, or no answer can be used.
pub async fn find(service: MdnsService, config: &ShimConfig) -> Result<Discovered, DiscoverError> {
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
    let found = ask(&daemon, service, config).await;
    // The thread behind it ends by itself, with all that it has heard; a daemon that is gone
    // already is no news.
    let _ = daemon.shutdown();
    let discovered = found?;
    info!(url = %discovered.url, "found by multicast DNS");
    Ok(discovered)
}

async fn ask(
    daemon: &ServiceDaemon,
    service: MdnsService,
    config: &ShimConfig,
) -> Result<Discovered, DiscoverError> {
    let mut pause = FIRST_PAUSE;
    let mut reason = None;
    for attempt in 1..=config.mdns.lookup_attempts.max(1) {
        let events = daemon.browse(service.name())?;
        let answer = async {
            let mut records = 0;
            while let Ok(event) = events.recv_async().await {
                let ServiceEvent::ServiceResolved(record) = event else {
                    continue;
                };
                match ServiceRecord::from(&*record).read(&config.mdns.allowed_overrides, has_route)
                {
                    Ok(discovered) => return Some(discovered),
                    Err(wrong) => {
                        warn!(host = %record.host, reason = wrong, "a multicast DNS record is passed over");
                        reason = Some(wrong);
                    }
                }
                records += 1;
                if records == MAX_RECORDS {
                    return None;
                }
            }
            None
        };
        if let Ok(Some(discovered)) = tokio::time::timeout(TIMEOUT, answer).await {
            return Ok(discovered);
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
    let name = service.name();
    Err(reason.map_or(DiscoverError::Silence(name), |reason| {
        DiscoverError::Record { name, reason }
    }))
}

fn has_route(address: IpAddr) -> bool {
    crate::advertise::source_address(address).is_some()
}

/// A resolved service record.
#[derive(Debug, Clone)]
struct ServiceRecord {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
    text: BTreeMap<String, String>,
}

impl From<&ResolvedService> for ServiceRecord {
    fn from(record: &ResolvedService) -> Self {
        let text = record.txt_properties.iter();
        Self {
            host: record.host.clone(),
            port: record.port,
            addresses: record.addresses.iter().map(|ip| ip.to_ip_addr()).collect(),
            text: text
                .map(|property| (property.key().to_owned(), property.val_str().to_owned()))
                .collect(),
        }
    }
}

/// Whether an address can be one machine's of a network.
fn is_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_loopback() && !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

/// Whether a text is a name of DNS, with or without the dot at its end.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a text is the path of a URL: nothing that ends it, escapes it or is invisible.
fn is_path(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%:@!$&'()*+,;=".contains(&b);
    text.len() <= MAX_TEXT_BYTES
        && (text.is_empty() || text.starts_with('/'))
        && text.bytes().all(is_plain)
}

impl ServiceRecord {
    fn read(
        mut self,
        allowed: &[String],
        has_route: impl Fn(IpAddr) -> bool,
    ) -> Result<Discovered, &'static str> {
        self.addresses.retain(|address| is_host(*address));
        self.addresses.sort();
        let address = self.addresses.iter().find(|address| has_route(**address));
        let address = address
            .or_else(|| self.addresses.first())
            .ok_or("no address is one that a service can have")?;
        if self.port == 0 {
            return Err("the port is 0");
        }
        let default = if self.port == 80 { "http" } else { "https" };
        let protocol = self
            .text
            .remove("protocol")
            .unwrap_or_else(|| default.to_owned());
        if protocol != "http" && protocol != "https" {
            return Err("the protocol is neither http nor https");
        }
        let path = self.text.remove("path").unwrap_or_default();
        if !is_path(&path) {
            return Err("the path is not one of a URL");
        }
        if !is_name(&self.host) {
            return Err("the host is not a name of DNS");
        }
        let host = if self.host.ends_with(".local.") {
            crate::advertise::in_url(&address.to_string())
        } else {
            self.host.trim_end_matches('.').to_owned()
        };
        let mut overrides = Vec::new();
        for (key, value) in self.text {
            match key.strip_prefix("ipa_") {
                Some(option) if allowed.iter().any(|known| known == option) => {
                    if value.len() > MAX_TEXT_BYTES || value.contains(char::is_control) {
                        return Err("the value of an option is not text of one line");
                    }
                    overrides.push((option.to_owned(), value));
                }
                _ => debug!(%key, "a key of the multicast DNS record is ignored"),
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

    fn record(host: &str, port: u16, addresses: &[&str], text: &[(&str, &str)]) -> ServiceRecord {
        ServiceRecord {
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
    fn a_record_that_lies_is_no_service() {
        let right = ("i.example.", 6385, ["192.0.2.1"], ("path", "/v1"));
        let check = |host: &str, port, address: &str, text: (&str, &str)| {
            let record = record(host, port, &[address], &[text]);
            record.read(&["ntp_server".into()], |_| true)
        };
        let (host, port, [address], text) = right;
        assert!(check(host, port, address, text).is_ok());
        for address in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.251",
            "ff02::fb",
            "255.255.255.255",
        ] {
            assert!(check(host, port, address, text).is_err(), "{address}");
        }
        let long = "x".repeat(300);
        for host in [
            "", ".", "a b", "a/b", "u@h.", "h\u{1b}.", "h:1", "h?", "h#", "a..b", "-a", &long,
            "[::1]",
        ] {
            assert!(check(host, port, address, text).is_err(), "{host:?}");
        }
        assert!(check(host, 0, address, text).is_err());
        let path = format!("/{}", "x".repeat(MAX_TEXT_BYTES));
        for text in [
            ("protocol", "file"),
            ("protocol", "http://evil.example/?"),
            ("protocol", ""),
            ("path", "@evil.example"),
            ("path", "v1"),
            ("path", "/a b"),
            ("path", "/\r\nX: y"),
            ("path", "/?q"),
            ("path", "/#f"),
            ("path", "/\u{1b}[2J"),
            ("path", &path),
            ("ipa_ntp_server", "a\nb"),
            ("ipa_ntp_server", "\u{9b}"),
            ("ipa_ntp_server", &path),
        ] {
            assert!(check(host, port, address, text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        /// Whatever a record holds, what is read of it is the URL of one of its addresses or
        /// of its name.
        #[test]
        fn a_url_leads_where_the_record_says(
            host in ".{0,20}",
            port: u16,
            address: [u8; 4],
            protocol in ".{0,8}|https?",
            path in "(/.{0,20})?",
        ) {
            let address = IpAddr::from(address);
            let read = record(&host, port, &[&address.to_string()], &[("protocol", &protocol), ("path", &path)])
                .read(&[], |_| true);
            if let Ok(read) = read {
                let url = reqwest::Url::parse(&read.url).unwrap();
                let named = url.host_str().unwrap();
                proptest::prop_assert!(
                    named == address.to_string() || host.to_ascii_lowercase().trim_end_matches('.') == named
                        || named.parse::<std::net::Ipv4Addr>().is_ok(),
                    "{} {}", read.url, named
                );
                proptest::prop_assert_eq!(url.port_or_known_default(), Some(port));
                proptest::prop_assert!(url.username().is_empty() && url.query().is_none() && url.fragment().is_none());
            }
        }
    }
}

//! Which proxy a URL goes through.
//!
//! What comes with the request wins, the environment fills the gaps, and hosts that are to be
//! reached directly are reached directly either way.

use std::net::IpAddr;

use reqwest::{Proxy, Url};

use super::Proxies;
use super::error::InvalidProxy;

/// The choice for every URL of one request, redirects included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProxyRoute {
    http: Option<Url>,
    https: Option<Url>,
    direct: Vec<Direct>,
}

/// One entry of `no_proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    Everything,
    /// An address and how many of its bits count, on one port or on all.
    Network(IpAddr, u32, Option<u16>),
    /// A host and everything below it, on one port or on all.
    Name(String, Option<u16>),
}

impl ProxyRoute {
    /// `environment` answers a variable's value.
    ///
    /// # Errors
    /// A proxy's URL is not valid.
    pub(super) fn new(
        wanted: &Proxies,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidProxy> {
        let variable = |name: &str| {
            [name.to_owned(), name.to_uppercase()]
                .iter()
                .find_map(|name| environment(name).filter(|value| !value.is_empty()))
        };
        let proxy = |given: &Option<String>, setting: &'static str| {
            let text = given
                .clone()
                .or_else(|| variable(setting))
                .or_else(|| variable("all_proxy"));
            text.map(|text| parse(&text).ok_or(InvalidProxy { setting }))
                .transpose()
        };
        let except = wanted.except.clone().or_else(|| variable("no_proxy"));
        Ok(Self {
            http: proxy(&wanted.http, "http_proxy")?,
            https: proxy(&wanted.https, "https_proxy")?,
            direct: except
                .as_deref()
                .unwrap_or_default()
                .split(',')
                .filter_map(|entry| direct(entry.trim()))
                .collect(),
        })
    }

    /// The same for the HTTP library.
    pub(super) fn into_proxy(self) -> Proxy {
        Proxy::custom(move |url| self.proxy(url).cloned())
    }

    fn proxy(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref()?,
            "https" => self.https.as_ref()?,
            _ => return None,
        };
        let host = url.host_str()?;
        let port = url.port_or_known_default();
        let is_direct = self.direct.iter().any(|entry| entry.covers(host, port));
        (!is_direct).then_some(proxy)
    }
}

impl Direct {
    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
        let is_port = |only: &Option<u16>| only.is_none_or(|only| Some(only) == port);
        match self {
            Self::Everything => true,
            Self::Network(network, bits, only) => {
                let is_inside = |address| is_within(address, *network, *bits);
                is_port(only) && host.parse::<IpAddr>().is_ok_and(is_inside)
            }
            Self::Name(name, only) => {
                let is_below = || {
                    let cut = host.len().checked_sub(name.len() + 1);
                    cut.is_some_and(|cut| {
                        host.as_bytes()[cut] == b'.'
                            && host.as_bytes()[cut + 1..].eq_ignore_ascii_case(name.as_bytes())
                    })
                };
                is_port(only) && (host.eq_ignore_ascii_case(name) || is_below())
            }
        }
    }
}

/// A proxy's URL; `host:port` stands for `http://host:port`.
fn parse(text: &str) -> Option<Url> {
    let text = text.trim();
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    url.ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn direct(entry: &str) -> Option<Direct> {
    if entry.is_empty() {
        return None;
    }
    if entry == "*" {
        return Some(Direct::Everything);
    }
    if let Some(address) = address(entry) {
        return Some(Direct::Network(address, bits(address), None));
    }
    if let Some((network, length)) = entry.split_once('/')
        && let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>())
    {
        return (length <= bits(network)).then_some(Direct::Network(network, length, None));
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    if let Some(address) = address(name) {
        return Some(Direct::Network(address, bits(address), port));
    }
    let name = name
        .trim_start_matches('*')
        .trim_start_matches('.')
        .trim_end_matches('.');
    (!name.is_empty()).then(|| Direct::Name(name.to_owned(), port))
}

/// An address, that of IPv6 also in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn is_within(address: IpAddr, network: IpAddr, length: u32) -> bool {
    let same = |a: u128, b: u128, bits: u32| bits == 0 || (a ^ b) >> (128 - bits) == 0;
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let high = |address: std::net::Ipv4Addr| u128::from(address.to_bits()) << 96;
            same(high(a), high(b), length)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), length),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(http: Option<&str>, except: Option<&str>, environment: &[(&str, &str)]) -> ProxyRoute {
        let wanted = Proxies {
            http: http.map(str::to_owned),
            https: None,
            except: except.map(str::to_owned),
        };
        ProxyRoute::new(&wanted, |name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
        .unwrap()
    }

    fn through(route: &ProxyRoute, url: &str) -> Option<String> {
        route
            .proxy(&Url::parse(url).unwrap())
            .map(ToString::to_string)
    }

    #[test]
    fn some_hosts_are_reached_directly() {
        for (except, url, is_direct) in [
            ("example.com", "http://example.com/i", true),
            ("example.com", "http://EXAMPLE.com./i", true),
            ("example.com", "http://images.example.com/i", true),
            (".example.com", "http://images.example.com/i", true),
            (".example.com", "http://example.com/i", true),
            ("*.example.com", "http://images.example.com/i", true),
            // A name that merely ends alike is somebody else's.
            ("example.com", "http://badexample.com/i", false),
            ("example.com:8080", "http://example.com:8080/i", true),
            ("example.com:8080", "http://example.com/i", false),
            ("example.com:80", "http://example.com/i", true),
            ("a, example.com ,b", "http://example.com/i", true),
            ("192.0.2.0/24", "http://192.0.2.77/i", true),
            ("192.0.2.0/24", "http://192.0.3.77/i", false),
            ("192.0.2.7", "http://192.0.2.7:8080/i", true),
            ("192.0.2.7", "http://192.0.2.70/i", false),
            ("0.0.0.0/0", "http://192.0.2.7/i", true),
            ("0.0.0.0/0", "http://name/i", false),
            ("2001:db8::/32", "http://[2001:db8::1]/i", true),
            ("2001:db8::/32", "http://[2001:db9::1]/i", false),
            ("[2001:db8::1]", "http://[2001:db8::1]:81/i", true),
            ("[2001:db8::1]:81", "http://[2001:db8::1]:81/i", true),
            ("[2001:DB8:0::1]:80", "http://[2001:db8::1]/i", true),
            ("[2001:db8::1]:81", "http://[2001:db8::1]/i", false),
            ("192.0.2.7:81", "http://192.0.2.7:81/i", true),
            ("192.0.2.7:81", "http://192.0.2.7/i", false),
            ("::/0", "http://192.0.2.7/i", false),
            ("192.0.2.0/33", "http://192.0.2.7/i", false),
            ("*", "http://anything/i", true),
            ("", "http://anything/i", false),
            (",.,:80,x:y", "http://anything/i", false),
        ] {
            let route = route(Some("http://p:1"), Some(except), &[]);
            assert_eq!(through(&route, url).is_none(), is_direct, "{except} {url}");
        }
    }

    #[test]
    fn the_request_wins_over_the_environment_which_fills_the_gaps() {
        let environment = [
            ("http_proxy", "other:2"),
            ("HTTPS_PROXY", "https://secure:3"),
            ("no_proxy", "local"),
        ];
        let both = route(Some("p:1"), None, &environment);
        assert_eq!(through(&both, "http://a/").unwrap(), "http://p:1/");
        assert_eq!(through(&both, "https://a/").unwrap(), "https://secure:3/");
        assert_eq!(through(&both, "http://local/"), None);
        // An own list replaces the environment's.
        let own = route(None, Some("a"), &environment);
        assert_eq!(through(&own, "http://a/"), None);
        assert_eq!(through(&own, "http://local/").unwrap(), "http://other:2/");
        let all = route(None, None, &[("ALL_PROXY", "http://all:4")]);
        assert_eq!(through(&all, "https://a/").unwrap(), "http://all:4/");
        assert_eq!(through(&route(None, None, &[]), "http://a/"), None);
    }

    #[test]
    fn an_invalid_proxy_is_named_without_its_password() {
        for text in ["socks5://u:secret@h:1", "http://", "::::"] {
            let wanted = Proxies {
                https: Some(text.to_owned()),
                ..Proxies::default()
            };
            let error = ProxyRoute::new(&wanted, |_| None).unwrap_err().to_string();
            assert!(
                error.contains("https_proxy") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}

//! Where the two programs listen and find each other.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// Where a program listens: `127.0.0.1:9998`, `[::]:9998` or `unix:/run/agent.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and port.
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

impl Listen {
    /// Whether other machines reach it: an address that is not a loopback address.
    #[must_use]
    pub fn is_open_to_other_machines(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

/// Where a program connects to: `http://host:port`, `https://host:port` or
/// `unix:/run/agent.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Plain HTTP/2; the whole URL, without a slash at its end.
    Http(String),
    /// HTTP/2 over TLS; the whole URL, without a slash at its end.
    Https(String),
    /// The path of a socket.
    Unix(PathBuf),
}

/// Where a program connects to: to any of these, whichever answers. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// The addresses, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[Endpoint] {
        &self.0
    }
}

impl From<Endpoint> for Endpoints {
    fn from(endpoint: Endpoint) -> Self {
        Self(vec![endpoint])
    }
}

impl FromStr for Endpoints {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let endpoints = text.split(',').map(|one| one.trim().parse());
        endpoints.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, endpoint) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{endpoint}")?;
        }
        Ok(())
    }
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// Not a place to listen at.
    #[error("expected ADDRESS:PORT, for example 127.0.0.1:9998 or [::]:9998, or unix:/PATH")]
    Listen,
    /// Not a place to connect to.
    #[error("expected http://HOST:PORT, https://HOST:PORT or unix:/PATH")]
    Endpoint,
}

/// The path in `unix:/path`; it must be absolute, because the two programs need not share
/// a working directory.
fn socket(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text.strip_prefix("unix:")?);
    path.is_absolute().then_some(path)
}

impl FromStr for Listen {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = socket(text) {
            return Ok(Self::Unix(path));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_| InvalidAddress::Listen)
    }
}

impl FromStr for Endpoint {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = socket(text) {
            return Ok(Self::Unix(path));
        }
        let url = text.trim_end_matches('/');
        let uri: http::Uri = url.parse().map_err(|_| InvalidAddress::Endpoint)?;
        match (uri.scheme_str(), uri.host(), uri.path()) {
            (Some("http"), Some(host), "/" | "") if !host.is_empty() => {
                Ok(Self::Http(url.to_owned()))
            }
            (Some("https"), Some(host), "/" | "") if !host.is_empty() => {
                Ok(Self::Https(url.to_owned()))
            }
            _ => Err(InvalidAddress::Endpoint),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) | Self::Https(url) => f.write_str(url),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

ironic_options::parsed_value!(
    Listen,
    "ADDRESS",
    "ADDRESS:PORT, for example 127.0.0.1:9998 or [::]:9998, or unix:/PATH"
);
ironic_options::parsed_value!(
    Endpoint,
    "ADDRESS",
    "http://HOST:PORT, https://HOST:PORT or unix:/PATH"
);

ironic_options::parsed_value!(
    Endpoints,
    "ADDRESS,...",
    "one or more of http://HOST:PORT, https://HOST:PORT and unix:/PATH, separated by commas"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["127.0.0.1:9998", "[::]:9998", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["http://h:1", "https://[fc00::1]:9998", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!(
            "http://h:1/".parse(),
            Ok(Endpoint::Http("http://h:1".into()))
        );
    }

    #[test]
    fn only_loopback_and_sockets_are_closed_to_other_machines() {
        for (listen, open) in [
            ("unix:/run/x", false),
            ("127.0.0.1:1", false),
            ("127.9.9.9:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("192.0.2.1:1", true),
            ("[::ffff:192.0.2.1]:1", true),
            ("[fe80::1]:1", true),
        ] {
            let listen: Listen = listen.parse().unwrap();
            assert_eq!(listen.is_open_to_other_machines(), open, "{listen}");
        }
    }

    #[test]
    fn several_endpoints_are_separated_by_commas() {
        let text = "https://a:1, https://b:1,unix:/c";
        let endpoints: Endpoints = text.parse().unwrap();
        assert_eq!(endpoints.all().len(), 3);
        assert_eq!(endpoints.to_string(), "https://a:1,https://b:1,unix:/c");
        for text in ["", "https://a:1,", "https://a:1,b"] {
            assert_eq!(
                text.parse::<Endpoints>(),
                Err(InvalidAddress::Endpoint),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "9998",
            "localhost",
            "unix:",
            "unix:relative",
            "http://h:1",
        ] {
            assert_eq!(
                text.parse::<Listen>(),
                Err(InvalidAddress::Listen),
                "{text}"
            );
        }
        for text in [
            "",
            "h:1",
            "ftp://h",
            "http://",
            "unix:relative",
            "http://h/path",
        ] {
            assert_eq!(
                text.parse::<Endpoint>(),
                Err(InvalidAddress::Endpoint),
                "{text}"
            );
        }
    }
}

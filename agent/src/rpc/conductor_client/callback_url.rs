//! Where an orchestrator reaches this agent, as a session tells it.

use std::net::{IpAddr, SocketAddr};

use ironic_transport::Listen;

use crate::config::{AgentConfig, GrpcListen};

/// How the address is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallbackUrl {
    /// No other machine reaches the agent.
    Nowhere,
    /// It is known.
    At(String),
    /// The agent listens at every address: the one of the route to the conductor counts.
    OnRoute {
        /// `http` or `https`.
        scheme: &'static str,
        /// The port.
        port: u16,
    },
}

impl CallbackUrl {
    pub(super) fn of(config: &AgentConfig) -> Self {
        if let Some(url) = &config.grpc_callback_url {
            return Self::At(url.to_string());
        }
        let GrpcListen::At(Listen::Tcp(address)) = config.grpc_listen else {
            return Self::Nowhere;
        };
        let has_tls = config.common.grpc_tls_cert_file.is_some();
        let scheme = if has_tls { "https" } else { "http" };
        let port = address.port();
        if address.ip().is_unspecified() {
            Self::OnRoute { scheme, port }
        } else {
            reachable(scheme, address).map_or(Self::Nowhere, Self::At)
        }
    }

    /// The address, where `source` is the one from which this machine reaches the conductor.
    /// Empty if no other machine reaches it.
    pub(super) fn with_source(&self, source: Option<IpAddr>) -> String {
        match self {
            Self::Nowhere => String::new(),
            Self::At(url) => url.clone(),
            Self::OnRoute { scheme, port } => source
                .and_then(|source| reachable(scheme, SocketAddr::new(source, *port)))
                .unwrap_or_default(),
        }
    }
}

/// Port 0 stands for one that the system chooses, and a loopback address means every machine to
/// itself.
fn reachable(scheme: &str, address: SocketAddr) -> Option<String> {
    let is_reachable = address.port() != 0 && !address.ip().to_canonical().is_loopback();
    is_reachable.then(|| format!("{scheme}://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_called_where_it_listens() {
        let source: IpAddr = "192.0.2.7".parse().unwrap();
        for (listen, has_tls, option, expected) in [
            ("unix:/a", false, None, ""),
            ("none", false, None, ""),
            ("127.0.0.1:9", false, None, ""),
            ("[::1]:9", false, None, ""),
            ("192.0.2.1:9", false, None, "http://192.0.2.1:9"),
            ("192.0.2.1:0", false, None, ""),
            ("[2001:db8::1]:9", true, None, "https://[2001:db8::1]:9"),
            ("0.0.0.0:9", true, None, "https://192.0.2.7:9"),
            ("[::]:9", false, None, "http://192.0.2.7:9"),
            ("none", true, Some("https://h:1"), "https://h:1"),
        ] {
            let mut config = AgentConfig {
                grpc_listen: listen.parse().unwrap(),
                grpc_callback_url: option.map(|url| url.parse().unwrap()),
                ..AgentConfig::default()
            };
            config.common.grpc_tls_cert_file = has_tls.then(|| "/c".into());
            let url = CallbackUrl::of(&config).with_source(Some(source));
            assert_eq!(url, expected, "{listen}");
        }
    }

    #[test]
    fn without_a_route_there_is_no_callback_url() {
        let url = CallbackUrl::OnRoute {
            scheme: "http",
            port: 9,
        };
        assert_eq!(url.with_source(None), "");
        assert_eq!(url.with_source(Some("127.0.0.1".parse().unwrap())), "");
    }
}

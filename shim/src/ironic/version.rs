//! Microversions of the Ironic API.

use std::fmt;
use std::str::FromStr;

/// A microversion, `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The part before the dot.
    pub major: u32,
    /// The part after the dot.
    pub minor: u32,
}

impl ApiVersion {
    /// Assumed while Ironic has not sent its own.
    pub const ASSUMED: Self = Self::new(1, 31);
    /// The newest that lookups use, whatever Ironic offers.
    pub const NEWEST_LOOKUP: Self = Self::new(1, 62);
    /// The newest that heartbeats use, unless they say what the agent is doing.
    pub const NEWEST_HEARTBEAT: Self = Self::new(1, 68);
    /// From here on heartbeats may carry `agent_version`.
    pub const AGENT_VERSION: Self = Self::new(1, 36);
    /// From here on heartbeats carry `agent_token`.
    pub const AGENT_TOKEN: Self = Self::new(1, 62);
    /// From here on heartbeats may carry `agent_verify_ca`: automatic TLS is possible.
    pub const AGENT_VERIFY_CA: Self = Self::new(1, 68);
    /// From here on heartbeats may carry `agent_status_message`.
    pub const AGENT_STATUS: Self = Self::new(1, 72);

    /// A version.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Not of the form `1.68`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an API version; expected MAJOR.MINOR, for example 1.68")]
pub struct InvalidVersion(String);

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.trim().split_once('.')?;
            Some(Self::new(major.parse().ok()?, minor.parse().ok()?))
        };
        parse().ok_or_else(|| InvalidVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let parsed = |text: &str| text.parse::<ApiVersion>();
        assert_eq!(parsed("1.115"), Ok(ApiVersion::new(1, 115)));
        assert!(parsed("1.9").unwrap() < parsed("1.62").unwrap());
        for text in ["", "1", "1.x", "a.b", "1.2.3"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}

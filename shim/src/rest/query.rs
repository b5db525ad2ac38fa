//! The two parameters of a query. Pure.

use percent_encoding::percent_decode_str;

/// What a query says. Of repeated parameters the first counts; others mean nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `agent_token`. A secret; may be empty.
    pub token: Option<String>,
    /// `wait`: only `true` in any case of letters is yes.
    pub wait: bool,
}

impl Query {
    /// Reads a query without its question mark.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        let mut waited = false;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match decoded(name).as_str() {
                "agent_token" if parsed.token.is_none() => parsed.token = Some(decoded(value)),
                "wait" if !waited => {
                    waited = true;
                    parsed.wait = decoded(value).eq_ignore_ascii_case("true");
                }
                _ => {}
            }
        }
        parsed
    }
}

/// The token must not reach a log.
impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query")
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("wait", &self.wait)
            .finish()
    }
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts() {
        let cases = [
            ("", None, false),
            ("agent_token=T", Some("T"), false),
            ("agent_token=", Some(""), false),
            ("agent_token", Some(""), false),
            ("agent_token=T&agent_token=U", Some("T"), false),
            ("agent_token=&agent_token=U", Some(""), false),
            ("x=1&&wait=true&agent_token=T", Some("T"), true),
            ("wait=TrUe", None, true),
            ("wait=false&wait=true", None, false),
            ("wait=1", None, false),
            ("wait=yes", None, false),
            ("wait=", None, false),
            ("wait=true+", None, false),
            ("Agent_Token=T&WAIT=true", None, false),
            ("agent%5Ftoken=a%2Bb+c%3D", Some("a+b c="), false),
            ("agent_token=a=b", Some("a=b"), false),
        ];
        for (query, token, wait) in cases {
            let parsed = Query::parse(query);
            assert_eq!(
                (parsed.token.as_deref(), parsed.wait),
                (token, wait),
                "{query}"
            );
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        let shown = format!("{:?}", Query::parse("agent_token=hunter2&wait=true"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

//! Where a redirect leads, and whether credentials go along.

use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode, Url};

/// The URL that an answer redirects to; `None` when it is the last answer.
pub(super) fn target(from: &Url, answer: &Response) -> Option<Url> {
    let is_redirect = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !is_redirect {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    let mut next = from
        .join(std::str::from_utf8(location.as_bytes()).ok()?)
        .ok()?;
    if keeps_credentials(from, &next) && next.username().is_empty() && next.password().is_none() {
        // Setting them fails only for URLs that cannot have a user, which `from` can.
        let _ = next.set_username(from.username());
        let _ = next.set_password(from.password());
    }
    Some(next)
}

/// Whether the credentials for one URL are sent to the next one, too: it is the same server, or the
/// same host that has been asked in the clear and wants TLS, both on their standard ports.
pub(super) fn keeps_credentials(from: &Url, next: &Url) -> bool {
    let port = Url::port_or_known_default;
    let is_upgrade = (from.scheme(), next.scheme()) == ("http", "https")
        && (port(from), port(next)) == (Some(80), Some(443));
    let is_same = from.scheme() == next.scheme() && port(from) == port(next);
    from.host() == next.host() && (is_same || is_upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_with_their_server() {
        let hosts = ["a", "b", "127.0.0.1"];
        let roots = [
            "http://{}",
            "https://{}",
            "http://{}:8080",
            "https://{}:443",
            "http://{}:443",
        ];
        for from in roots {
            for next in roots {
                for from_host in hosts {
                    for next_host in hosts {
                        let url = |root: &str, host| Url::parse(&root.replace("{}", host)).unwrap();
                        let is_upgrade = from == "http://{}" && next.starts_with("https:");
                        let is_same = from == next
                            || from.starts_with("https:") && next.starts_with("https:");
                        assert_eq!(
                            keeps_credentials(&url(from, from_host), &url(next, next_host)),
                            from_host == next_host && (is_same || is_upgrade),
                            "{from} {from_host} {next} {next_host}"
                        );
                    }
                }
            }
        }
    }
}

//! Which redirects are followed.
//!
//! A server may send its client elsewhere, but not out of TLS: what was asked over `https` is
//! not asked again in the clear, where anybody could answer. A body that holds a secret goes to
//! the host that it was written for, and to no other one.

use reqwest::{Url, redirect};
use thiserror::Error;

/// More redirects than this lead nowhere.
const REDIRECTS: usize = 10;

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RefusedRedirect {
    /// It leads nowhere.
    #[error("too many redirects")]
    TooMany,
    /// It leads out of TLS.
    #[error("a redirect from https to a URL that is not https is not followed")]
    OutOfTls,
    /// It takes a request's body to another host.
    #[error(
        "a redirect with status {0} to another host is not followed: the request's body is not \
         for it"
    )]
    OtherHost(u16),
}

/// Whether the requests of a client have bodies that are secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// There are none.
    None,
    /// They hold a token: a redirect that repeats them (307, 308) must stay at the host.
    Secret,
}

/// The policy of a client.
#[must_use]
pub fn policy(bodies: Bodies) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let status = attempt.status().as_u16();
        match check(bodies, attempt.previous(), status, attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    })
}

/// Whether a redirect is followed. `previous` are the URLs so far, the first one first.
///
/// # Errors
/// Why it is not.
pub fn check(
    bodies: Bodies,
    previous: &[Url],
    status: u16,
    next: &Url,
) -> Result<(), RefusedRedirect> {
    if previous.len() > REDIRECTS {
        return Err(RefusedRedirect::TooMany);
    }
    let Some(last) = previous.last() else {
        return Ok(());
    };
    if last.scheme() == "https" && next.scheme() != "https" {
        return Err(RefusedRedirect::OutOfTls);
    }
    // The host that the request was made for, not the one of the redirect before.
    let is_other = previous.first().and_then(Url::host) != next.host();
    if bodies == Bodies::Secret && matches!(status, 307 | 308) && is_other {
        return Err(RefusedRedirect::OtherHost(status));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URLS: [&str; 6] = [
        "http://a/1",
        "https://a/1",
        "https://a:8443/2",
        "http://b/1",
        "https://b/1",
        "https://127.0.0.1/1",
    ];

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// Every chain of two redirects over a few URLs, with every status.
    #[test]
    fn nothing_leaves_tls_and_no_body_leaves_its_host() {
        for bodies in [Bodies::None, Bodies::Secret] {
            for status in [301, 302, 303, 307, 308] {
                for first in URLS {
                    for second in URLS {
                        for third in URLS {
                            let urls = [url(first), url(second)];
                            let next = url(third);
                            let leaves_tls =
                                second.starts_with("https:") && third.starts_with("http:");
                            let repeats = bodies == Bodies::Secret && [307, 308].contains(&status);
                            let leaves_host = urls[0].host_str() != next.host_str();
                            let checked = check(bodies, &urls, status, &next);
                            assert_eq!(
                                checked.is_err(),
                                leaves_tls || repeats && leaves_host,
                                "{bodies:?} {status} {first} {second} {third}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn ten_redirects_are_enough() {
        let urls = vec![url("http://a/"); REDIRECTS + 1];
        let next = url("http://a/");
        assert_eq!(check(Bodies::None, &urls[1..], 302, &next), Ok(()));
        assert_eq!(
            check(Bodies::None, &urls, 302, &next),
            Err(RefusedRedirect::TooMany)
        );
    }
}

//! `oci://registry/repository:tag@digest`: names of images in registries.

use thiserror::Error;

/// Docker's registry is not where its name says.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");
const LATEST: &str = "latest";
const MAX_TAG_BYTES: usize = 128;
/// Of a label and of a whole host name (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;
const MAX_HOST_BYTES: usize = 253;
/// Digests a registry may use: name and number of hexadecimal digits.
const DIGESTS: [(&str, usize); 2] = [("sha256", 64), ("sha512", 128)];

/// A checked reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Host and port of the registry.
    pub(super) registry: String,
    pub(super) repository: String,
    /// Which of the images.
    pub(super) version: ImageVersion,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageVersion {
    Tag(String),
    /// `sha256:<digits>`; the tag beside it, if any, is decoration.
    Digest(String),
}

/// Why a URL names no image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{url} is not an image reference like oci://registry/repository:tag: {problem}")]
pub(super) struct ReferenceError {
    pub(super) url: String,
    #[source]
    pub(super) problem: ReferenceProblem,
}

/// What is wrong with a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum ReferenceProblem {
    #[error("it does not begin with oci://")]
    Scheme,
    #[error("it has no repository")]
    NoRepository,
    #[error(
        "the registry must be HOST or HOST:PORT, and HOST a name, an IPv4 address or an IPv6 \
         address in brackets"
    )]
    Registry,
    #[error("a repository has lower-case letters, digits, '.', '_', '-' and '/'")]
    Repository,
    #[error("a tag has at most 128 letters, digits, '.', '_' and '-'")]
    Tag,
    #[error("a digest is sha256: and 64, or sha512: and 128 digits")]
    Digest,
}

impl Reference {
    /// Parses `oci://registry/repository:tag@digest`.
    ///
    /// # Errors
    /// What is wrong with the reference.
    pub(super) fn parse(url: &str) -> Result<Self, ReferenceError> {
        Self::of_url(url).map_err(|problem| ReferenceError {
            url: url.to_owned(),
            problem,
        })
    }

    fn of_url(url: &str) -> Result<Self, ReferenceProblem> {
        let rest = url
            .split_once("://")
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("oci"))
            .map(|(_, rest)| rest)
            .ok_or(ReferenceProblem::Scheme)?;
        let (registry, path) = rest.split_once('/').ok_or(ReferenceProblem::NoRepository)?;
        if !is_authority(registry) {
            return Err(ReferenceProblem::Registry);
        }
        let (path, digest) = split_at(path, '@');
        let (repository, tag) = split_at(path, ':');
        if !repository.split('/').all(is_repository_part) {
            return Err(ReferenceProblem::Repository);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceProblem::Tag);
        }
        let version = match digest {
            Some(digest) if split_digest(digest).is_none() => {
                return Err(ReferenceProblem::Digest);
            }
            Some(digest) => ImageVersion::Digest(digest.to_owned()),
            None => ImageVersion::Tag(tag.unwrap_or(LATEST).to_owned()),
        };
        let registry = if registry == DOCKER.0 {
            DOCKER.1
        } else {
            registry
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            version,
        })
    }

    /// The repository's place in the registry's API. Plain HTTP is for registries on this very
    /// machine, and only when certificates do not count (`insecure`).
    pub(super) fn base(&self, insecure: bool) -> String {
        let scheme = if insecure && is_local(&self.registry) {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://{}/v2/{}/", self.registry, self.repository)
    }
}

/// The text before the first separator, and the text after it.
fn split_at(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_repository_part(part: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    !part.starts_with('.') && !part.is_empty() && part.bytes().all(allowed)
}

fn is_tag(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_TAG_BYTES).contains(&tag.len())
        && tag.bytes().all(allowed)
        && !tag.starts_with(['.', '-'])
}

/// Whether this is a host with an optional port, and nothing else that a URL may hold there.
fn is_authority(text: &str) -> bool {
    let (is_host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<std::net::Ipv6Addr>().is_ok(), port),
            None => (false, ""),
        },
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_host_name(host), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => port.is_empty(),
    };
    is_host && is_port
}

/// A DNS name or an IPv4 address: labels of letters, digits, `-` and `_`, with one dot between
/// two of them. A last label of digits alone makes it an address (WHATWG URL, 3.5).
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // `1.2.3`, `127.0x1` and `127.0.0.01` are addresses to some clients and names to others.
    let is_number = |label: &str| {
        let digits = label
            .strip_prefix("0x")
            .or_else(|| label.strip_prefix("0X"));
        label.bytes().all(|byte| byte.is_ascii_digit())
            || digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let ends_in_number = host.rsplit('.').next().is_some_and(is_number);
    host.len() <= MAX_HOST_BYTES
        && host.split('.').all(is_label)
        && (!ends_in_number || host.parse::<std::net::Ipv4Addr>().is_ok())
}

/// Whether host and port are of this machine.
pub(super) fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// `sha256:<digits>` in its two parts, the digits in lower case as the specification wants.
pub(super) fn split_digest(digest: &str) -> Option<(&str, &str)> {
    let (name, digits) = digest.split_once(':')?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    DIGESTS
        .iter()
        .any(|(known, length)| *known == name && digits.len() == *length)
        .then_some(())
        .filter(|()| digits.bytes().all(is_digit))
        .map(|()| (name, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (url, registry, repository, version) in [
            (
                "oci://r.example/a/b:1.0",
                "r.example",
                "a/b",
                ImageVersion::Tag("1.0".into()),
            ),
            (
                "OCI://r.example:5000/a",
                "r.example:5000",
                "a",
                ImageVersion::Tag("latest".into()),
            ),
            (
                "oci://[::1]:5000/a:B_c",
                "[::1]:5000",
                "a",
                ImageVersion::Tag("B_c".into()),
            ),
            (
                "oci://docker.io/library/x",
                "registry-1.docker.io",
                "library/x",
                ImageVersion::Tag("latest".into()),
            ),
            (
                &format!("oci://r/a@{digest}"),
                "r",
                "a",
                ImageVersion::Digest(digest.clone()),
            ),
            (
                &format!("oci://r/a:tag@{digest}"),
                "r",
                "a",
                ImageVersion::Digest(digest),
            ),
        ] {
            let reference = Reference::parse(url).unwrap();
            assert_eq!(
                (
                    reference.registry.as_str(),
                    reference.repository.as_str(),
                    &reference.version
                ),
                (registry, repository, &version)
            );
        }
    }

    #[test]
    fn what_is_no_reference_says_why() {
        let short = format!("oci://r/a@sha256:{}", "a".repeat(63));
        let upper = format!("oci://r/a@sha256:{}", "A".repeat(64));
        for (url, why) in [
            ("http://r/a", "begin with oci://"),
            ("oci://r", "no repository"),
            ("oci:///a", "the registry must be"),
            ("oci://user:word@r/a", "the registry must be"),
            ("oci://r..example/a", "the registry must be"),
            ("oci://.r/a", "the registry must be"),
            ("oci://r./a", "the registry must be"),
            ("oci://-r/a", "the registry must be"),
            ("oci://r%2f..%2f/a", "the registry must be"),
            ("oci://r:/a", "the registry must be"),
            ("oci://r:0/a", "the registry must be"),
            ("oci://r:+1/a", "the registry must be"),
            ("oci://r:65536/a", "the registry must be"),
            ("oci://r:1:2/a", "the registry must be"),
            ("oci://127.1/a", "the registry must be"),
            ("oci://127.0.0.256/a", "the registry must be"),
            ("oci://[::1/a", "the registry must be"),
            ("oci://[::1]x/a", "the registry must be"),
            ("oci://[127.0.0.1]/a", "the registry must be"),
            ("oci://\u{2024}/a", "the registry must be"),
            ("oci://r/../../etc", "a repository has"),
            ("oci://r/A", "a repository has"),
            ("oci://r/a//b", "a repository has"),
            ("oci://r/a?x=1", "a repository has"),
            ("oci://r/a:", "a tag has"),
            ("oci://r/a:b/c", "a tag has"),
            ("oci://r/a@md5:aa", "a digest is"),
            (&short, "a digest is"),
            (&upper, "a digest is"),
        ] {
            let error = Reference::parse(url).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_and_only_on_request() {
        for (registry, insecure, scheme) in [
            ("localhost:5000", true, "http"),
            ("127.0.0.1", true, "http"),
            ("[::1]:5000", true, "http"),
            ("localhost:5000", false, "https"),
            ("localhost.example", true, "https"),
            ("192.0.2.1:5000", true, "https"),
        ] {
            let reference = Reference::parse(&format!("oci://{registry}/a/b")).unwrap();
            assert_eq!(
                reference.base(insecure),
                format!("{scheme}://{registry}/v2/a/b/")
            );
        }
    }
}

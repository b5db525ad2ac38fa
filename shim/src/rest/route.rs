//! Which resource a path names. Pure.
//!
//! The rules are those of the Python agent's router: paths are case-sensitive, a missing
//! slash at the end of a collection and repeated slashes are redirected if the method is
//! right, and a wrong method on a known path is 405.

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/`
    Root,
    /// `/v1/`
    Version,
    /// `/v1/status`
    Status,
    /// GET `/v1/commands/`
    List,
    /// POST `/v1/commands/`
    Run,
    /// GET `/v1/commands/{id}`
    Get(String),
}

/// What a path and a method lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteMatch {
    /// A resource.
    Found(Route),
    /// The same below another path, already quoted for a URL.
    Redirect(String),
    /// The path is known, with these methods.
    WrongMethod(&'static str),
    /// Nothing.
    NotFound,
}

/// A known path and what its methods lead to.
enum Known {
    /// One resource, for GET and HEAD.
    Readable(Route),
    /// `/v1/commands/`, which also takes POST.
    Commands,
}

impl Known {
    fn at(path: &str) -> Option<Self> {
        let below = path.strip_prefix('/')?;
        let unversioned = match below {
            "" => return Some(Self::Readable(Route::Root)),
            "v1/" => return Some(Self::Readable(Route::Version)),
            _ => below.strip_prefix("v1/").unwrap_or(below),
        };
        match unversioned {
            "status" => Some(Self::Readable(Route::Status)),
            "commands/" => Some(Self::Commands),
            _ => {
                let id = unversioned.strip_prefix("commands/")?;
                (!id.contains('/')).then(|| Self::Readable(Route::Get(id.to_owned())))
            }
        }
    }

    fn answer(self, method: &Method) -> Result<Route, &'static str> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::Readable(route) if reads => Ok(route),
            Self::Readable(_) => Err("GET, HEAD"),
            Self::Commands if reads => Ok(Route::List),
            Self::Commands if *method == Method::POST => Ok(Route::Run),
            Self::Commands => Err("GET, HEAD, POST"),
        }
    }
}

/// Finds what a decoded path names.
#[must_use]
pub fn find(method: &Method, path: &str) -> RouteMatch {
    let exact = exact(method, path);
    if exact != RouteMatch::NotFound || !path.contains("//") {
        return exact;
    }
    let merged = merged(path);
    match self::exact(method, &merged) {
        RouteMatch::Found(_) => RouteMatch::Redirect(quoted(&merged)),
        other => other,
    }
}

fn exact(method: &Method, path: &str) -> RouteMatch {
    if let Some(known) = Known::at(path) {
        return match known.answer(method) {
            Ok(route) => RouteMatch::Found(route),
            Err(allowed) => RouteMatch::WrongMethod(allowed),
        };
    }
    let slashed = format!("{path}/");
    let collection = Known::at(&slashed)
        .filter(|known| !matches!(known, Known::Readable(Route::Get(_))))
        .and_then(|known| known.answer(method).ok());
    match collection {
        Some(_) => RouteMatch::Redirect(quoted(&slashed)),
        None => RouteMatch::NotFound,
    }
}

fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

/// Splits `/nodes/<uuid>` off a path: the UUID and the rest, which begins with a slash or is
/// empty.
#[must_use]
pub fn node(path: &str) -> Option<(&str, &str)> {
    let below = path.strip_prefix("/nodes/")?;
    let (uuid, rest) = match below.find('/') {
        Some(end) => below.split_at(end),
        None => (below, ""),
    };
    (!uuid.is_empty()).then_some((uuid, rest))
}

/// A path as it was meant: percent escapes decoded, except that an escaped slash separates
/// nothing and stays `%2F`. Bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn decoded(path: &str) -> String {
    let kept = path.replace("%2F", "%252F").replace("%2f", "%252F");
    percent_decode_str(&kept).decode_utf8_lossy().into_owned()
}

/// What is quoted in a path.
const UNSAFE_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A decoded path, quoted for a URL.
fn quoted(path: &str) -> String {
    utf8_percent_encode(path, UNSAFE_IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(method: &str, path: &str) -> String {
        match find(&method.parse().unwrap(), path) {
            RouteMatch::Found(route) => format!("{route:?}"),
            RouteMatch::Redirect(path) => format!("308 {path}"),
            RouteMatch::WrongMethod(allowed) => format!("405 {allowed}"),
            RouteMatch::NotFound => "404".to_owned(),
        }
    }

    #[test]
    fn paths_lead_where_the_python_agent_leads() {
        // Columns: path, GET and HEAD, POST, any other method.
        let reads = "405 GET, HEAD";
        let runs = "405 GET, HEAD, POST";
        let cases = [
            ("/", "Root", reads, reads),
            ("/v1", "308 /v1/", "404", "404"),
            ("/v1/", "Version", reads, reads),
            ("/V1/", "404", "404", "404"),
            ("/v1/status", "Status", reads, reads),
            ("/status", "Status", reads, reads),
            ("/v1/status/", "404", "404", "404"),
            ("/v1/commands/", "List", "Run", runs),
            ("/commands/", "List", "Run", runs),
            (
                "/v1/commands",
                "308 /v1/commands/",
                "308 /v1/commands/",
                "404",
            ),
            ("/commands", "308 /commands/", "308 /commands/", "404"),
            ("/v1/commands/abc", "Get(\"abc\")", reads, reads),
            ("/commands/abc", "Get(\"abc\")", reads, reads),
            ("/v1/commands/a b", "Get(\"a b\")", reads, reads),
            ("/v1/commands/a%2Fb", "Get(\"a%2Fb\")", reads, reads),
            ("/v1/commands/abc/", "404", "404", "404"),
            ("/v1/commands/a/b", "404", "404", "404"),
            ("/v1/nope", "404", "404", "404"),
            ("/v1/v1/status", "404", "404", "404"),
            ("*", "404", "404", "404"),
            ("/v1//status", "308 /v1/status", reads, reads),
            ("/v1////status", "308 /v1/status", reads, reads),
            ("/v1//nope", "404", "404", "404"),
            (
                "/v1//commands",
                "308 /v1/commands/",
                "308 /v1/commands/",
                "404",
            ),
            (
                "/v1/commands//",
                "308 /v1/commands/",
                "308 /v1/commands/",
                runs,
            ),
            ("/v1/commands//a b", "308 /v1/commands/a%20b", reads, reads),
        ];
        for (path, get, post, other) in cases {
            for (method, expected) in [
                ("GET", get),
                ("HEAD", get),
                ("POST", post),
                ("PUT", other),
                ("DELETE", other),
                ("OPTIONS", other),
            ] {
                assert_eq!(outcome(method, path), expected, "{method} {path}");
            }
        }
    }

    #[test]
    fn escapes_are_decoded_but_for_the_slash() {
        let cases = [
            ("/v1/status", "/v1/status"),
            ("/v1/st%61tus", "/v1/status"),
            ("/v1/commands/a%20b", "/v1/commands/a b"),
            ("/v1/commands/a%2Fb%2fc", "/v1/commands/a%2Fb%2Fc"),
            ("/%C3%A9", "/\u{e9}"),
            ("/%FF", "/\u{fffd}"),
            ("/%zz%4", "/%zz%4"),
        ];
        for (path, expected) in cases {
            assert_eq!(decoded(path), expected);
        }
    }

    #[test]
    fn a_node_is_split_off() {
        let cases = [
            ("/nodes/u/v1/status", Some(("u", "/v1/status"))),
            ("/nodes/u/", Some(("u", "/"))),
            ("/nodes/u", Some(("u", ""))),
            ("/nodes/", None),
            ("/nodes//v1", None),
            ("/v1/status", None),
        ];
        for (path, expected) in cases {
            assert_eq!(node(path), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_redirect_leads_to_a_resource(
            path in "/(v1|nodes|commands|status|a|/){0,6}",
            post: bool,
        ) {
            let method = if post { Method::POST } else { Method::GET };
            if let RouteMatch::Redirect(to) = find(&method, &path) {
                let found = matches!(find(&method, &decoded(&to)), RouteMatch::Found(_));
                proptest::prop_assert!(found, "{} {}", path, to);
            }
        }
    }
}

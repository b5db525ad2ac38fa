//! The documents that describe the interface, and the page of a redirect.

use serde::Serialize;

use super::json::write;
use crate::agents::Status;

const DOCUMENTATION: &str = "https://docs.openstack.org/ironic-python-agent/";

#[derive(Serialize)]
struct Link<'a> {
    href: &'a str,
    rel: &'static str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

#[derive(Serialize)]
struct Version<'a> {
    id: &'static str,
    links: [Link<'a>; 2],
}

#[derive(Serialize)]
struct Root<'a> {
    name: &'static str,
    description: &'static str,
    versions: [Version<'a>; 1],
    default_version: Version<'a>,
}

#[derive(Serialize)]
struct MediaType {
    base: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct VersionOne<'a> {
    commands: [Link<'a>; 2],
    status: [Link<'a>; 2],
    media_types: [MediaType; 1],
    id: &'static str,
    links: [Link<'a>; 2],
}

fn link<'a>(href: &'a str, rel: &'static str) -> Link<'a> {
    Link {
        href,
        rel,
        kind: None,
    }
}

fn version(href: &str) -> Version<'_> {
    Version {
        id: "v1",
        links: links(href),
    }
}

fn links(href: &str) -> [Link<'_>; 2] {
    [
        link(href, "self"),
        Link {
            href: DOCUMENTATION,
            rel: "describedby",
            kind: Some("text/html"),
        },
    ]
}

/// The document at `/`; `base` is the URL of the interface without a slash at its end.
#[must_use]
pub fn root(base: &str) -> Vec<u8> {
    let href = format!("{base}/v1");
    write::text(&Root {
        name: "OpenStack Ironic Python Agent API",
        description: "Ironic Python Agent is a provisioning agent for OpenStack Ironic",
        versions: [version(&href)],
        default_version: version(&href),
    })
}

/// The document at `/v1/`.
#[must_use]
pub fn version_one(base: &str) -> Vec<u8> {
    let href = format!("{base}/v1");
    let at = |path: &str| format!("{base}/{path}");
    let (commands, bare_commands) = (at("v1/commands"), at("commands"));
    let (status, bare_status) = (at("v1/status"), at("status"));
    write::text(&VersionOne {
        commands: [link(&commands, "self"), link(&bare_commands, "bookmark")],
        status: [link(&status, "self"), link(&bare_status, "bookmark")],
        media_types: [MediaType {
            base: "application/json",
            kind: "application/vnd.openstack.ironic-python-agent.v1+json",
        }],
        id: "v1",
        links: links(&href),
    })
}

/// The document at `/v1/status`.
#[must_use]
pub fn status(status: &Status) -> Vec<u8> {
    #[derive(Serialize)]
    struct Document<'a> {
        started_at: f64,
        version: &'a str,
    }
    write::text(&Document {
        started_at: status.started_at,
        version: &status.version,
    })
}

/// The HTML page of a redirect.
#[must_use]
pub fn redirect(location: &str) -> Vec<u8> {
    let mut shown = String::with_capacity(location.len());
    for character in location.chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&#34;"),
            '\'' => shown.push_str("&#39;"),
            _ => shown.push(character),
        }
    }
    format!(
        "<!doctype html>\n\
         <html lang=en>\n\
         <title>Redirecting...</title>\n\
         <h1>Redirecting...</h1>\n\
         <p>You should be redirected automatically to the target URL: \
         <a href=\"{shown}\">{shown}</a>. If not, click the link.\n"
    )
    .into_bytes()
}

//! The files of the page, which are parts of this program.

use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderValue;
use ironic_transport::Sha256Digest;

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    /// The path below which it is served.
    path: &'static str,
    /// Its media type.
    pub(super) media_type: HeaderValue,
    pub(super) content: Bytes,
    /// Changes with the content.
    pub(super) etag: HeaderValue,
}

impl Asset {
    fn new(path: &'static str, media_type: &'static str, content: &'static str) -> Self {
        let digest = Sha256Digest::of(content);
        Self {
            path,
            media_type: HeaderValue::from_static(media_type),
            content: Bytes::from_static(content.as_bytes()),
            // Hexadecimal digits in quotes are a header value.
            etag: HeaderValue::try_from(format!("\"{digest:.16}\""))
                .unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// The file that is served at a path.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.path == path)
    }
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    [
        Asset::new(
            "/",
            "text/html; charset=utf-8",
            include_str!("web/index.html"),
        ),
        Asset::new(
            "/page.css",
            "text/css; charset=utf-8",
            include_str!("web/page.css"),
        ),
        Asset::new(
            "/page.js",
            "text/javascript; charset=utf-8",
            include_str!("web/page.js"),
        ),
        Asset::new("/icon.svg", "image/svg+xml", include_str!("web/icon.svg")),
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_that_is_not_served_here() {
        for asset in ASSETS.iter() {
            let text = std::str::from_utf8(&asset.content).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for foreign in ["http:", "https:", "//cdn", "@import", "url("] {
                assert!(!text.contains(foreign), "{}: {foreign}", asset.path);
            }
        }
        let page = std::str::from_utf8(&Asset::at("/").unwrap().content).unwrap();
        let named = page.split([' ', '>']).filter_map(|word| {
            let value = word
                .strip_prefix("href=\"")
                .or_else(|| word.strip_prefix("src=\""))?;
            value.strip_suffix('"')
        });
        let named: Vec<_> = named.filter(|path| !path.starts_with('#')).collect();
        assert_eq!(named.len(), 3, "{named:?}");
        for path in named {
            assert!(Asset::at(&format!("/{path}")).is_some(), "{path}");
        }
    }

    /// The policy lets neither run, and texts of nodes must not become markup.
    #[test]
    fn the_page_has_no_inline_code_and_makes_no_markup_of_texts() {
        let page = include_str!("web/index.html");
        for inline in ["<style", "style=", " on", "javascript:", "<script>"] {
            assert!(!page.contains(inline), "{inline}");
        }
        let code = include_str!("web/page.js");
        for dangerous in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "eval(",
            "document.write",
        ] {
            assert!(!code.contains(dangerous), "{dangerous}");
        }
    }

    #[test]
    fn each_file_has_a_tag_of_its_own() {
        let tags: std::collections::HashSet<_> = ASSETS.iter().map(|asset| &asset.etag).collect();
        assert_eq!(tags.len(), ASSETS.len());
    }
}

//! Answers, with the headers that every one of them has.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Body;

use super::assets::Asset;

/// What answers carry.
pub(super) type PageBody = UnsyncBoxBody<Bytes, Infallible>;

/// Nothing but our own files runs or is shown, nothing is sent elsewhere, and nobody frames us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// On every answer.
const SECURITY: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// An answer with this body and the headers that every answer has. Browsers keep no copy.
pub(super) fn answer(
    status: StatusCode,
    media_type: HeaderValue,
    body: PageBody,
) -> Response<PageBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal with a sentence for people.
pub(super) fn refusal(status: StatusCode, sentence: &str) -> Response<PageBody> {
    let text = Full::new(Bytes::from(format!("{sentence}\n")));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer(status, kind, text.boxed_unsync())
}

/// The page is only read.
pub(super) fn method_not_allowed() -> Response<PageBody> {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD");
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// A file, or that the browser's copy is current. Browsers ask each time, so that a page never
/// runs with the script of another version.
pub(super) fn file(asset: &'static Asset, known: Option<&HeaderValue>) -> Response<PageBody> {
    let is_current = known.is_some_and(|known| *known == asset.etag);
    let (status, body) = if is_current {
        (StatusCode::NOT_MODIFIED, Empty::new().boxed_unsync())
    } else {
        let content = Full::new(asset.content.clone());
        (StatusCode::OK, content.boxed_unsync())
    };
    let mut response = answer(status, asset.media_type.clone(), body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ETAG, asset.etag.clone());
    response
}

/// The same without its body, for HEAD.
pub(super) fn without_body(response: Response<PageBody>) -> Response<PageBody> {
    let length = response.body().size_hint().exact();
    let mut response = response.map(|_| Empty::new().boxed_unsync());
    if let Some(length) = length {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

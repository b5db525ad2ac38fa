//! Access to the services: the token is checked before a request's body is read.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use ironic_transport::grpc::bounds::Caller;
use tonic::body::Body;
use tower::{Layer, Service};

use super::status;
use crate::config;

/// The metadata key of the token.
pub const TOKEN: &str = "agent-token";

/// What may be called without a token: what the agent is, whether it is well, and what it offers.
const OPEN: [&str; 3] = [
    "/ironic.agent.v1.CommandService/GetStatus",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
];

/// Lets calls pass that carry the token in force. Without one, nothing but [`OPEN`] passes.
#[derive(Debug, Clone)]
pub(super) struct Access {
    config: config::Shared,
}

impl Access {
    pub(super) fn new(config: config::Shared) -> Self {
        Self { config }
    }

    fn allows<B>(&self, request: &Request<B>) -> CallAccess {
        let path = request.uri().path();
        let open = OPEN
            .iter()
            .any(|open| path == *open || (open.ends_with('/') && path.starts_with(open)));
        let candidate = request
            .headers()
            .get(TOKEN)
            .and_then(|value| value.to_str().ok());
        match (&self.config.current().common.agent_token, candidate) {
            (Some(token), Some(candidate)) if token.matches(candidate) => CallAccess::ByToken,
            _ if open => CallAccess::Openly,
            _ => CallAccess::No,
        }
    }
}

/// Whether a call may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallAccess {
    /// It carries the token in force.
    ByToken,
    /// It needs no token.
    Openly,
    No,
}

impl<S> Layer<S> for Access {
    type Service = AccessControlled<S>;

    fn layer(&self, inner: S) -> AccessControlled<S> {
        AccessControlled {
            access: self.clone(),
            inner,
        }
    }
}

/// A service behind [`Access`].
#[derive(Debug, Clone)]
pub(super) struct AccessControlled<S> {
    access: Access,
    inner: S,
}

impl<S, B> Service<Request<B>> for AccessControlled<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let allowed = self.access.allows(&request);
        if allowed == CallAccess::ByToken
            && let Some(caller) = Caller::of(&request)
        {
            caller.authenticated();
        }
        if allowed != CallAccess::No {
            Either::Left(self.inner.call(request))
        } else {
            Either::Right(ready(Ok(status::token_invalid().into_http())))
        }
    }
}

#[cfg(test)]
mod tests {
    use ironic_text::Secret;

    use super::*;
    use crate::config::{AgentConfig, Shared};

    fn request(path: &str, token: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri(format!("http://agent{path}"));
        if let Some(token) = token {
            request = request.header(TOKEN, token);
        }
        request.body(()).unwrap()
    }

    const LIST: &str = "/ironic.agent.v1.CommandService/ListCommands";

    #[test]
    fn only_the_token_in_force_opens() {
        let config = Shared::new(AgentConfig::default());
        let access = Access::new(config.clone());
        // Without a token nobody is let in, not even without one.
        for token in [None, Some(""), Some("T")] {
            assert_eq!(access.allows(&request(LIST, token)), CallAccess::No);
        }
        config.adopt_token(Secret::new("T"));
        for (token, allowed) in [
            (None, false),
            (Some(""), false),
            (Some("t"), false),
            (Some("TT"), false),
            (Some("T"), true),
        ] {
            let passes = access.allows(&request(LIST, token)) == CallAccess::ByToken;
            assert_eq!(passes, allowed, "{token:?}");
        }
        config.adopt_token(Secret::new("other"));
        assert_eq!(access.allows(&request(LIST, Some("T"))), CallAccess::No);
    }

    #[test]
    fn the_open_paths_are_open_and_nothing_beside_them() {
        let access = Access::new(Shared::default());
        for (path, allowed) in [
            ("/ironic.agent.v1.CommandService/GetStatus", true),
            ("/ironic.agent.v1.CommandService/GetStatus/", false),
            ("/ironic.agent.v1.CommandService/GetStatusX", false),
            ("/ironic.agent.v1.CommandService/GetCommand", false),
            ("/grpc.health.v1.Health/Check", true),
            ("/grpc.health.v1.Healthy/Check", false),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                true,
            ),
            ("/", false),
        ] {
            let passes = access.allows(&request(path, None)) == CallAccess::Openly;
            assert_eq!(passes, allowed, "{path}");
        }
    }
}

//! Inspection reports are weighed before they are decoded: a list of nulls takes thirty times its
//! length in memory.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::weight;

const SUBMIT_INSPECTION: &str = "/ironic.agent.v1.ConductorService/SubmitInspection";
/// `SubmitInspectionRequest.report`.
const REPORT: u32 = 1;
/// gRPC writes a byte and the length before each message.
const PREFIX: usize = 5;

/// The service of agents, whose reports are in proportion.
#[derive(Debug, Clone)]
pub(super) struct WeighedReports<S>(pub(super) S);

impl<S: NamedService> NamedService for WeighedReports<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for WeighedReports<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    S: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != SUBMIT_INSPECTION {
            return Box::pin(self.0.call(request));
        }
        // The one that was made ready answers.
        let clone = self.0.clone();
        let mut service = std::mem::replace(&mut self.0, clone);
        Box::pin(async move {
            match weighed(request).await {
                Ok(request) => service.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// A request whose messages may be decoded.
async fn weighed(request: Request<Body>) -> Result<Request<Body>, Status> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    weigh(&body)?;
    Ok(Request::from_parts(parts, Body::new(Full::new(body))))
}

fn weigh(body: &Bytes) -> Result<(), Status> {
    let mut rest = &body[..];
    while let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX>() {
        let [_, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        // What is cut short is never decoded.
        let (message, others) = behind.split_at(length.min(behind.len()));
        weight::weigh_encoded(message, REPORT)
            .map_err(|error| Status::invalid_argument(format!("report {error}")))?;
        rest = others;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ironic_agent_protocol::v1::SubmitInspectionRequest;
    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value};
    use tonic::Code;
    use tower::service_fn;

    use super::*;

    fn kind(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn body(key: &str, value: Kind) -> Vec<u8> {
        let report = Struct {
            fields: [(key.to_owned(), kind(value))].into(),
        };
        let message = SubmitInspectionRequest {
            report: Some(report),
            system_uuid: String::new(),
        };
        framed(&message.encode_to_vec())
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0_u8][..], &length.to_be_bytes(), message].concat()
    }

    /// What the service behind is given of these bodies in one request.
    async fn given(path: &'static str, body: Vec<u8>) -> Result<usize, Code> {
        let behind = service_fn(|request: Request<Body>| async {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert("given", body.len().into());
            Ok::<_, Infallible>(response)
        });
        let mut request = Request::new(Body::new(Full::from(body)));
        *request.uri_mut() = http::Uri::from_static(path);
        let response = WeighedReports(behind).call(request).await.unwrap();
        match Status::from_header_map(response.headers()) {
            Some(status) => Err(status.code()),
            None => Ok(response.headers()["given"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap()),
        }
    }

    #[tokio::test]
    async fn a_report_out_of_proportion_is_refused_before_it_is_decoded() {
        let nulls = |count| {
            let values = vec![kind(Kind::NullValue(0)); count];
            body("nulls", Kind::ListValue(ListValue { values }))
        };
        let logs = body("logs", Kind::StringValue("H".repeat(5_000_000)));
        let many = nulls(300_000);
        assert_eq!(given(SUBMIT_INSPECTION, logs.clone()).await, Ok(logs.len()));
        let few = nulls(100_000);
        assert_eq!(given(SUBMIT_INSPECTION, few.clone()).await, Ok(few.len()));
        let refused = Err(Code::InvalidArgument);
        assert_eq!(given(SUBMIT_INSPECTION, many.clone()).await, refused);
        // Not behind another message either.
        let second = [few, many.clone()].concat();
        assert_eq!(given(SUBMIT_INSPECTION, second).await, refused);
        // Nor behind an unknown field, the 15th as a group, which the decoder passes over.
        let group = framed(&[&[0x7b, 0x7c][..], &many[PREFIX..]].concat());
        assert_eq!(given(SUBMIT_INSPECTION, group).await, refused);
        // Other calls are streams, which are passed on as they come.
        let other = "/ironic.agent.v1.ConductorService/Lookup";
        assert_eq!(given(other, many.clone()).await, Ok(many.len()));
    }
}

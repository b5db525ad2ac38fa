//! One call: its request leaves while its response arrives.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::poll;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;

/// Sends a request and waits for the head of its response. A caller that drops the future or the
/// response's body cancels the call.
pub(crate) async fn call(
    mut connection: SendRequest<Bytes>,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let ready = poll_fn(|context| connection.poll_ready(context));
    ready.await.map_err(unavailable)?;
    let (mut head, body) = request.into_parts();
    // HTTP/2 keeps no sensitive header for later requests. The time that is left for a call is another one each
    // time, so most would be kept in vain, by both sides.
    for value in head.headers.values_mut() {
        value.set_sensitive(true);
    }
    let is_whole = body.is_end_stream();
    let sent = connection.send_request(Request::from_parts(head, ()), is_whole);
    let (response, stream) = sent.map_err(unavailable)?;
    let sending = if is_whole {
        None
    } else {
        send(body, stream).await
    };
    let response = response.await.map_err(unavailable)?;
    Ok(response.map(|stream| Body::new(ResponseBody { stream, sending })))
}

/// Sends a body: at once as far as it is there, the rest in a task, for as long as the handle lives.
async fn send(body: Body, stream: SendStream<Bytes>) -> Option<AbortOnDropHandle<()>> {
    let mut sending = Box::pin(send_frames(body, stream));
    let is_sent = poll!(&mut sending).is_ready();
    (!is_sent).then(|| AbortOnDropHandle::new(tokio::spawn(sending)))
}

/// Sends the frames of a body, each when the peer has room for it.
async fn send_frames(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        // Room for one byte is enough: what exceeds it waits in the connection.
        stream.reserve_capacity(1);
        if stream.capacity() == 0 && !has_room(&mut stream).await {
            return;
        }
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            // The caller hears of it by the response.
            _ = poll_fn(|context| stream.poll_reset(context)) => return,
        };
        let sent = match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => stream.send_data(data, body.is_end_stream()),
            Some(Ok(Err(frame))) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return drop(stream.send_trailers(trailers));
            }
            Some(Err(_)) => return stream.send_reset(Reason::INTERNAL_ERROR),
            None => return drop(stream.send_data(Bytes::new(), true)),
        };
        if sent.is_err() || body.is_end_stream() {
            return;
        }
    }
}

/// Waits until the peer takes more; false if the stream has ended.
async fn has_room(stream: &mut SendStream<Bytes>) -> bool {
    loop {
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(0)) => {}
            Some(Ok(_)) => return true,
            Some(Err(_)) | None => return false,
        }
    }
}

/// The body of a response.
#[derive(Debug)]
struct ResponseBody {
    stream: RecvStream,
    /// What of the request is not sent yet.
    sending: Option<AbortOnDropHandle<()>>,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let stream = &mut self.stream;
        let frame = match ready!(stream.poll_data(context)) {
            Some(Ok(data)) => {
                // It fails for more than was received.
                let _ = stream.flow_control().release_capacity(data.len());
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(unless_reset(error))),
            None => {
                let trailers = ready!(stream.poll_trailers(context)).map_err(unless_reset);
                trailers
                    .map(|trailers| trailers.map(Frame::trailers))
                    .transpose()
            }
        };
        if frame.is_none() {
            self.sending = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// The connection is gone, whatever noticed it.
fn unavailable(error: h2::Error) -> Status {
    let mut status = Status::unavailable("the connection was lost");
    status.set_source(Arc::new(error));
    status
}

/// A peer that resets one stream says why by a code, which tonic reads; all else is a loss.
fn unless_reset(error: h2::Error) -> Status {
    if error.is_reset() {
        Status::from_error(Box::new(error))
    } else {
        unavailable(error)
    }
}

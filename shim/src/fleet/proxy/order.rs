//! What an order is: read before it is passed on, because the verb decides who may give it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use ironic_agent_protocol::roles::CallerRole;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::verbs::VerbDescriptor;
use prost::Message;
use tonic::body::Body;

use crate::fleet::access::OrderedVerb;
use crate::fleet::error::FleetError;
use crate::fleet::frame::{FrameHead, HEAD};

/// The call that begins a command.
pub(super) const EXECUTE: &str = "/ironic.agent.v1.CommandService/ExecuteCommand";
/// The call that asks a command to stop.
const CANCEL: &str = "/ironic.agent.v1.CommandService/CancelCommand";

/// What cancelling is called.
const CANCEL_VERB: &str = "cancel";

/// The largest order in bytes, as for the agent: it may carry a config drive.
pub(super) const MAX_ORDER_BYTES: usize = 128 << 20;

/// What an order is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    verb: OrderedVerb,
    /// As the caller has chosen it; may be empty.
    pub(super) command_id: String,
    pub(super) validate_only: bool,
}

impl Order {
    /// Whether a method gives orders.
    pub(super) fn is_given_by(method: &str) -> bool {
        matches!(method, EXECUTE | CANCEL)
    }

    /// Reads an order of this method of at most `largest` bytes. Answers its body, too, to the byte.
    pub(super) async fn read(
        method: &str,
        body: Body,
        largest: usize,
    ) -> Result<(Self, Body), FleetError> {
        let bytes = whole(method, body, largest).await?;
        let order = message(&bytes).and_then(|message| Self::parse(method, message));
        let order = order.ok_or_else(|| unreadable(method))?;
        Ok((order, Body::new(Full::new(bytes))))
    }

    /// As the agent will understand it: by the same decoder.
    fn parse(method: &str, message: Bytes) -> Option<Self> {
        if method == CANCEL {
            let cancel = v1::CancelCommandRequest::decode(message).ok()?;
            return Some(Self {
                verb: OrderedVerb {
                    name: CANCEL_VERB,
                    role: CallerRole::Operator,
                },
                command_id: cancel.id,
                validate_only: false,
            });
        }
        let execute = v1::ExecuteCommandRequest::decode(message).ok()?;
        let verb = execute.command.and_then(|command| command.verb);
        let described = verb.and_then(VerbDescriptor::decompose);
        Some(Self {
            verb: described.map_or(
                // The agent will refuse it; nobody needs to be let by for that.
                OrderedVerb {
                    name: "",
                    role: CallerRole::Provisioner,
                },
                |(verb, _)| OrderedVerb {
                    name: verb.name,
                    role: verb.role,
                },
            ),
            command_id: execute.id,
            validate_only: execute.validate_only,
        })
    }

    /// What is ordered.
    pub(super) fn wanted(&self) -> OrderedVerb {
        self.verb
    }
}

/// The whole body of a request.
///
/// # Errors
/// It is larger, or was broken off.
pub(super) async fn whole(method: &str, body: Body, largest: usize) -> Result<Bytes, FleetError> {
    let body = Limited::new(body, largest + HEAD).collect().await;
    Ok(body.map_err(|_| unreadable(method))?.to_bytes())
}

fn unreadable(method: &str) -> FleetError {
    FleetError::OrderUnreadable {
        method: method.to_owned(),
        largest: MAX_ORDER_BYTES >> 20,
    }
}

/// The only message of a request.
fn message(bytes: &Bytes) -> Option<Bytes> {
    let (head, message) = FrameHead::split(bytes)?;
    let is_one = !head.is_compressed && head.length == message.len();
    is_one.then(|| bytes.slice(HEAD..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::frame;

    fn framed(message: &[u8]) -> Bytes {
        frame::framed(message).into()
    }

    fn execute(verb: Option<v1::command::Verb>) -> v1::ExecuteCommandRequest {
        v1::ExecuteCommandRequest {
            command: Some(v1::Command {
                verb,
                ..v1::Command::default()
            }),
            id: "i".into(),
            validate_only: true,
            ..v1::ExecuteCommandRequest::default()
        }
    }

    async fn read(method: &str, bytes: Bytes) -> Result<Order, FleetError> {
        let body = Body::new(Full::new(bytes.clone()));
        let (order, body) = Order::read(method, body, MAX_ORDER_BYTES).await?;
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        Ok(order)
    }

    #[tokio::test]
    async fn order_is_read_and_passes_to_the_byte() {
        use v1::command::Verb;
        let sync = execute(Some(Verb::Sync(v1::SyncCommand {})));
        let order = read(EXECUTE, framed(&sync.encode_to_vec())).await.unwrap();
        assert_eq!(
            (order.wanted().name, order.wanted().role),
            ("standby.sync", CallerRole::Operator)
        );
        assert_eq!(
            (order.command_id.as_str(), order.validate_only),
            ("i", true)
        );
        let prepare = execute(Some(Verb::PrepareImage(v1::PrepareImageCommand::default())));
        let order = read(EXECUTE, framed(&prepare.encode_to_vec()))
            .await
            .unwrap();
        assert_eq!(order.wanted().role, CallerRole::Provisioner);
        // Of two commands the later one counts, for the agent as well.
        let mut both = sync.encode_to_vec();
        both.extend(prepare.encode_to_vec());
        let order = read(EXECUTE, framed(&both)).await.unwrap();
        assert_eq!(order.wanted().name, "standby.prepare_image");
        let none = read(EXECUTE, framed(&execute(None).encode_to_vec())).await;
        assert_eq!(none.unwrap().wanted().role, CallerRole::Provisioner);
        let cancel = v1::CancelCommandRequest {
            id: "c".into(),
            reason: String::new(),
        };
        let order = read(CANCEL, framed(&cancel.encode_to_vec())).await.unwrap();
        assert_eq!(
            (order.wanted().name, order.command_id.as_str()),
            ("cancel", "c")
        );
    }

    #[tokio::test]
    async fn what_is_no_single_message_is_refused() {
        let good = framed(&execute(None).encode_to_vec());
        let mut packed = good.to_vec();
        packed[0] = 1;
        let twice = [good.to_vec(), good.to_vec()].concat();
        for bytes in [
            Bytes::new(),
            good.slice(..good.len() - 1),
            packed.into(),
            twice.into(),
            framed(&[0xff; 7]),
        ] {
            let refused = read(EXECUTE, bytes).await.unwrap_err();
            assert_eq!(refused.code().1, "ORDER_UNREADABLE");
        }
    }
}

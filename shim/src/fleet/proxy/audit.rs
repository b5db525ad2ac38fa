//! The audit of commands and cancellations: the caller, the verb and the outcome, as a line of the
//! log and as an event of the node.

use std::net::SocketAddr;

use http::Response;
use http_body_util::BodyExt;
use ironic_agent_protocol::v1;
use ironic_text::printable;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::info;

use super::order::Order;
use crate::fleet::access::FleetCaller;
use crate::fleet::executed::AnswerReader;
use crate::fleet::handle::Fleet;
use crate::fleet::node_command::cut;

/// The longest identifier that is noted, in characters.
const MAX_TEXT_LENGTH: usize = 255;

/// An order whose end is noted: when its answer ends, or when its caller is gone.
#[derive(Debug)]
pub(super) struct OrderAudit {
    fleet: Fleet,
    node_uuid: String,
    peer: Option<SocketAddr>,
    /// `None`: it is noted.
    order: Option<v1::NodeOrder>,
}

impl OrderAudit {
    /// An order of which only the caller is known.
    pub(super) fn new(fleet: &Fleet, node_uuid: &str, caller: &FleetCaller) -> Self {
        Self {
            fleet: fleet.clone(),
            node_uuid: node_uuid.to_owned(),
            peer: caller.peer,
            order: Some(v1::NodeOrder {
                caller: cut(caller.to_string(), MAX_TEXT_LENGTH),
                ..v1::NodeOrder::default()
            }),
        }
    }

    /// The order was read.
    pub(super) fn note(&mut self, order: &Order) {
        if let Some(noted) = &mut self.order {
            order.wanted().name.clone_into(&mut noted.verb);
            noted.command_id = cut(order.command_id.clone(), MAX_TEXT_LENGTH);
            noted.validate_only = order.validate_only;
        }
    }

    /// The call has ended.
    pub(super) fn ended(&mut self, status: &Status) {
        let Some(mut order) = self.order.take() else {
            return;
        };
        let info = status.get_details_error_info();
        order.code = status.code().into();
        order.reason = info
            .map(|info| cut(info.reason, MAX_TEXT_LENGTH))
            .unwrap_or_default();
        info!(
            caller = %order.caller,
            peer = ?self.peer,
            verb = %order.verb,
            node = %self.node_uuid,
            command = %printable(&order.command_id),
            dry_run = order.validate_only,
            outcome = ?status.code(),
            reason = %printable(&order.reason),
            "order"
        );
        self.fleet.ordered(&self.node_uuid, order);
    }

    /// Follows an answer to its end.
    pub(super) fn follow(mut self, answer: Response<Body>) -> Response<Body> {
        // An agent that refuses answers without a body.
        if let Some(status) = Status::from_header_map(answer.headers()) {
            self.ended(&status);
            return answer;
        }
        let mut reader = AnswerReader::default();
        answer.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref()
                    && let Some(record) = reader.read(data)
                    && let Some(order) = &mut self.order
                {
                    order.command_id = cut(record.id, MAX_TEXT_LENGTH);
                }
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    self.ended(&status);
                }
                frame
            }))
        })
    }
}

impl Drop for OrderAudit {
    fn drop(&mut self) {
        self.ended(&Status::new(Code::Cancelled, "the caller is gone"));
    }
}

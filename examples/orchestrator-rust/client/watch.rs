//! A watch that goes on.

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_agent_protocol::v1::watch_nodes_response::Content;
use tonic::Status;
use tonic::transport::Channel;

use super::{pause, reason};

/// Gives every node that is listed or changes to `seen`, until the future is dropped.
pub(crate) async fn watch(channel: Channel, mut seen: impl FnMut(v1::Node)) -> Result<(), Status> {
    let mut fleet = FleetServiceClient::new(channel);
    let (mut resume_token, mut lost_at) = (String::new(), None);
    loop {
        let request = v1::WatchNodesRequest {
            resume_token: resume_token.clone(),
            ..v1::WatchNodesRequest::default()
        };
        let reading = async {
            let mut messages = fleet.watch_nodes(request).await?.into_inner();
            while let Some(message) = messages.message().await? {
                lost_at = None;
                match message.content {
                    Some(Content::Nodes(list)) => list.nodes.into_iter().for_each(&mut seen),
                    Some(Content::Events(events)) => {
                        let nodes = events.events.into_iter().filter_map(|event| event.node);
                        nodes.for_each(&mut seen);
                    }
                    Some(Content::Bookmark(_)) | None => {}
                }
                if !message.resume_token.is_empty() {
                    resume_token = message.resume_token;
                }
            }
            Err::<(), _>(Status::unavailable("the gateway ended the watch"))
        };
        let ended = reading.await.err().unwrap_or_else(|| Status::ok(""));
        if ["WATCH_EXPIRED", "POLICY_CHANGED"].contains(&reason(&ended).as_str()) {
            // The list comes anew.
            resume_token.clear();
        } else {
            pause(ended, &mut lost_at).await?;
        }
    }
}

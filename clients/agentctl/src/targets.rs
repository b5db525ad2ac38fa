//! From names and labels to nodes, and work on several of them at once.

use futures_util::StreamExt as _;
use futures_util::stream;
use ironic_agent_protocol::v1;

use crate::arguments::{LabelSelector, NodeTargets};
use crate::connection::ControlChannel;
use crate::error::ControlError;

/// The UUID of a machine that does not know which node it is: a standalone agent before any
/// lookup. Commands of the step machines want one.
const NO_NODE: &str = "00000000-0000-0000-0000-000000000000";

/// A node, by what it is called for and what a person calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeRef {
    /// UUID, for calls.
    pub(crate) uuid: String,
    /// Its name; empty when it has none.
    pub(crate) name: String,
}

impl NodeRef {
    /// Its name, or else its UUID.
    pub(crate) fn shown(&self) -> &str {
        if self.name.is_empty() {
            &self.uuid
        } else {
            &self.name
        }
    }

    /// Of a node that a gateway answered.
    pub(crate) fn of(node: &v1::Node) -> Self {
        Self {
            uuid: node.uuid.clone(),
            name: node.name.clone(),
        }
    }
}

/// The nodes that are meant, each once, all of them known: a name that is wrong is found before
/// anything is done with the others.
///
/// # Errors
/// No node is named, or one is not known.
pub(crate) async fn resolve(
    channel: &ControlChannel,
    targets: &NodeTargets,
) -> Result<Vec<NodeRef>, ControlError> {
    let names_nodes = !targets.nodes.is_empty() || targets.selector.is_some() || targets.all;
    if channel.is_agent() {
        if names_nodes {
            return Err(ControlError::NodeBesideAgent);
        }
        return Ok(vec![agent(channel).await?]);
    }
    if !names_nodes {
        return Err(ControlError::NoTargets);
    }
    let nodes = match targets.nodes.as_slice() {
        [] => list(channel, targets.selector.as_ref(), &[]).await?,
        names => {
            let mut nodes = Vec::new();
            for name in names {
                nodes.push(get(channel, name).await?);
            }
            nodes
        }
    };
    if nodes.is_empty() {
        return Err(match targets.selector {
            Some(_) => ControlError::NothingSelected,
            None => ControlError::NoNodes,
        });
    }
    let mut found: Vec<NodeRef> = Vec::new();
    for node in &nodes {
        let node = NodeRef::of(node);
        if !found.contains(&node) {
            found.push(node);
        }
    }
    Ok(found)
}

/// The node of one agent, as far as it knows.
async fn agent(channel: &ControlChannel) -> Result<NodeRef, ControlError> {
    let request = channel.request(v1::GetStatusRequest {});
    let status = channel.commands().get_status(request).await;
    let status = status.map_err(|status| channel.failure(status))?;
    let uuid = status.into_inner().node_uuid;
    let (uuid, name) = if uuid.is_empty() {
        (NO_NODE.to_owned(), channel.address().to_owned())
    } else {
        (uuid, String::new())
    };
    Ok(NodeRef { uuid, name })
}

/// One node of a gateway.
///
/// # Errors
/// It is not known, or several have the name.
pub(crate) async fn get(channel: &ControlChannel, name: &str) -> Result<v1::Node, ControlError> {
    let node = name.to_owned();
    let request = channel.request(v1::GetNodeRequest { node });
    let answer = channel.fleet().get_node(request).await;
    let answer = answer.map_err(|status| channel.failure(status))?;
    let node = answer.into_inner().node;
    node.ok_or(ControlError::Incomplete("node"))
}

/// The nodes of a gateway: those with names first, in the order in which a person counts.
///
/// # Errors
/// A call failed.
pub(crate) async fn list(
    channel: &ControlChannel,
    selector: Option<&LabelSelector>,
    states: &[v1::NodeState],
) -> Result<Vec<v1::Node>, ControlError> {
    let mut nodes = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListNodesRequest {
            selector: selector.map(LabelSelector::message),
            states: states.iter().map(|state| i32::from(*state)).collect(),
            page_size: 0,
            page_token,
        };
        let answer = channel.fleet().list_nodes(channel.request(request)).await;
        let answer = answer.map_err(|status| channel.failure(status))?;
        let answer = answer.into_inner();
        nodes.extend(answer.nodes);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            nodes.sort_by_cached_key(NaturalOrder::of);
            return Ok(nodes);
        }
    }
}

/// What nodes are sorted by: `node-9` comes before `node-10`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NaturalOrder {
    is_nameless: bool,
    stem: String,
    digits: usize,
    name: String,
    uuid: String,
}

impl NaturalOrder {
    /// The place of a node.
    pub(crate) fn of(node: &v1::Node) -> Self {
        let name = &node.name;
        let stem = name.trim_end_matches(|character: char| character.is_ascii_digit());
        Self {
            is_nameless: name.is_empty(),
            stem: stem.to_owned(),
            digits: name.len() - stem.len(),
            name: name.clone(),
            uuid: node.uuid.clone(),
        }
    }
}

/// What became of each node, in the order of the nodes.
pub(crate) type NodeOutcomes<T> = Vec<(NodeRef, Result<T, ControlError>)>;

/// Does the same with every node, at most `parallel` at once.
pub(crate) async fn each<T>(
    nodes: Vec<NodeRef>,
    parallel: u16,
    work: impl AsyncFn(&NodeRef) -> Result<T, ControlError>,
) -> NodeOutcomes<T> {
    let work = &work;
    let tasks = nodes.into_iter().map(|node| async move {
        let outcome = work(&node).await;
        (node, outcome)
    });
    at_once(tasks, parallel).await
}

/// What all tasks answer, in their order, at most `parallel` of them at once. One that lasts does
/// not keep the places of those that have ended.
pub(crate) async fn at_once<F: Future>(
    tasks: impl Iterator<Item = F>,
    parallel: u16,
) -> Vec<F::Output> {
    let tasks = tasks
        .enumerate()
        .map(|(at, task)| async move { (at, task.await) });
    let working = stream::iter(tasks).buffer_unordered(usize::from(parallel));
    let mut answers: Vec<_> = working.collect().await;
    answers.sort_unstable_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn a_task_that_lasts_does_not_hold_up_the_others() {
        let (begun, first_goes_on) = (Semaphore::new(0), Semaphore::new(0));
        let (begun, first_goes_on) = (&begun, &first_goes_on);
        let tasks = (0..5).map(|number| async move {
            begun.add_permits(1);
            if number == 0 {
                let _ = first_goes_on.acquire().await;
            }
            number
        });
        let mut working = Box::pin(at_once(tasks, 2));
        assert_eq!(working.as_mut().now_or_never(), None);
        assert_eq!(
            begun.available_permits(),
            5,
            "all others have had their turn"
        );
        first_goes_on.add_permits(1);
        assert_eq!(working.now_or_never(), Some(vec![0, 1, 2, 3, 4]));
    }

    #[test]
    fn names_are_sorted_as_a_person_counts() {
        let named = |name: &str| v1::Node {
            name: name.to_owned(),
            ..v1::Node::default()
        };
        let mut nodes = [
            named(""),
            named("node-10"),
            named("node-9"),
            named("node-1"),
        ];
        nodes.sort_by_cached_key(NaturalOrder::of);
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["node-1", "node-9", "node-10", ""]);
    }
}

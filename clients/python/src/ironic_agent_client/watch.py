"""The nodes of a gateway, and what changes about them: what a watch knows, without any connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ironic_agent_client.errors import ApiError, PolicyChanged, WatchExpired
from ironic_agent_client.v1 import fleet_service_pb2 as pb


@dataclass(frozen=True)
class NodeChange:
    """Something that changed about a node."""

    # A value of NodeEventKind. UNSPECIFIED: the list that came anew holds the node with another content.
    kind: pb.NodeEventKind.ValueType
    # The node after the change; of REMOVED the node as it was.
    node: pb.Node
    # When, by the gateway's clock. None where a list shows the change.
    at: datetime | None = None


class WatchedNodes:
    """The nodes as the messages of a watch say. A broken watch goes on with `request()`."""

    def __init__(self, labels: Mapping[str, str] | None = None, resume_token: str = "", nodes: Iterable[pb.Node] = ()):
        self.labels = dict(labels or {})
        # Resumes the watch after the last message: keep it beside `nodes` to go on in another process.
        self.resume_token = resume_token
        self.nodes = {node.uuid: node for node in nodes}
        self._list: list[pb.Node] = []

    def request(self) -> pb.WatchNodesRequest:
        """What the next call of WatchNodes begins with."""
        self._list = []
        return pb.WatchNodesRequest(selector=pb.NodeSelector(labels=self.labels), resume_token=self.resume_token)

    def take(self, message: pb.WatchNodesResponse) -> list[NodeChange]:
        """What a message changes."""
        changes: list[NodeChange] = []
        if message.HasField("nodes"):
            self._list.extend(message.nodes.nodes)
            if message.nodes.complete:
                changes = self._replace()
        elif message.HasField("events"):
            changes = [self._apply(event) for event in message.events.events]
        if message.resume_token:
            self.resume_token = message.resume_token
        return changes

    def failed(self, error: ApiError) -> bool:
        """Whether the watch can go on at once after this error: the list comes anew then."""
        if isinstance(error, (WatchExpired, PolicyChanged)) and self.resume_token:
            self.resume_token = ""
            return True
        return False

    def _apply(self, event: pb.NodeEvent) -> NodeChange:
        if event.kind == pb.NODE_EVENT_KIND_REMOVED:
            self.nodes.pop(event.node.uuid, None)
        else:
            self.nodes[event.node.uuid] = event.node
        return NodeChange(event.kind, event.node, event.at.ToDatetime(UTC))

    def _replace(self) -> list[NodeChange]:
        """The list is complete: what differs from what was known is a change."""
        listed = {node.uuid: node for node in self._list}
        changes = [NodeChange(pb.NODE_EVENT_KIND_REMOVED, node) for uuid, node in self.nodes.items() if uuid not in listed]
        for uuid, node in listed.items():
            if uuid not in self.nodes:
                changes.append(NodeChange(pb.NODE_EVENT_KIND_ADDED, node))
            elif node != self.nodes[uuid]:
                changes.append(NodeChange(pb.NODE_EVENT_KIND_UNSPECIFIED, node))
        self.nodes, self._list = listed, []
        return changes

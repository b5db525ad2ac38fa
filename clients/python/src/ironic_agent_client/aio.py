"""The client for asyncio."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from ironic_agent_client.documents import to_dict
from ironic_agent_client.errors import ApiError, CommandFailed, CommandLost, CommandNotFound, NodeAway, NodeClosed, typed_errors
from ironic_agent_client.retry import RETRY_TIMEOUT, Backoff, repeated
from ironic_agent_client.v1 import command_service_pb2 as commands_pb
from ironic_agent_client.v1 import fleet_service_pb2 as fleet_pb
from ironic_agent_client.v1.command_pb2 import COMMAND_STATE_RUNNING, COMMAND_STATE_SUCCEEDED, Command, CommandRecord, PlannedAction
from ironic_agent_client.v1.command_service_pb2_grpc import CommandServiceStub
from ironic_agent_client.v1.fleet_service_pb2_grpc import FleetServiceStub
from ironic_agent_client.watch import NodeChange, WatchedNodes

if TYPE_CHECKING:
    # The stub of an asyncio channel has a type of its own, which does not exist at run time.
    from ironic_agent_client.v1.fleet_service_pb2_grpc import FleetServiceAsyncStub

ATTEMPT = 60.0  # seconds for one call: more than the 45 s for which a gateway waits for an agent that is away
OPTIONS = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
ENDED_STREAM = "the stream ended before the command did"

Metadata = tuple[tuple[str, str], ...]
Observer = Callable[[commands_pb.WatchCommandResponse], None]


def open_channel(address: str, ca: str | Path | None = None, cert: str | Path | None = None, key: str | Path | None = None,
                 plaintext: bool = False) -> grpc.aio.Channel:
    """A channel to HOST:PORT or unix:PATH, with mutual TLS unless `plaintext` says otherwise."""
    if address.startswith("unix:"):
        # gRPC would take the path for the authority, which servers that are strict refuse.
        return grpc.aio.insecure_channel(address, [*OPTIONS, ("grpc.default_authority", "localhost")])
    if plaintext:
        return grpc.aio.insecure_channel(address, OPTIONS)
    if ca is None or cert is None or key is None:
        raise ValueError("ca, cert and key name the files for TLS; plaintext=True is for a gateway on this machine that has none")
    authority, chain, private = (Path(path).read_bytes() for path in (ca, cert, key))
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(authority, private, chain), OPTIONS)


class AsyncGateway:
    """The nodes of a gateway. `fleet` and `commands` are the generated stubs, for calls that have no method here."""

    def __init__(self, address: str, *, ca: str | Path | None = None, cert: str | Path | None = None, key: str | Path | None = None,
                 plaintext: bool = False):
        self.channel = open_channel(address, ca, cert, key, plaintext)
        self.fleet = FleetServiceStub(self.channel)
        self.commands = CommandServiceStub(self.channel)

    async def __aenter__(self) -> AsyncGateway:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and the calls on it."""
        await self.channel.close()

    def node(self, node: str) -> AsyncNode:
        """A node by its UUID or name."""
        async def boot_id() -> str:
            with typed_errors():
                known = (await self.fleet.GetNode(fleet_pb.GetNodeRequest(node=node), timeout=ATTEMPT)).node
                if boot := attached_boot(known):
                    return boot
                # Another gateway holds it: the agent says it.
                call = self.commands.GetStatus(commands_pb.GetStatusRequest(), metadata=(("node-uuid", known.uuid),), timeout=ATTEMPT)
                return (await call).boot_id

        return AsyncNode(self.channel, (("node-uuid", node),), node, boot_id)

    async def get_node(self, node: str) -> fleet_pb.Node:
        """A node as the gateway knows it."""
        return (await repeated(lambda: self.fleet.GetNode(fleet_pb.GetNodeRequest(node=node), timeout=ATTEMPT))).node

    async def list_nodes(self, labels: Mapping[str, str] | None = None) -> list[fleet_pb.Node]:
        """All nodes, or those with these labels."""
        nodes: list[fleet_pb.Node] = []
        request = fleet_pb.ListNodesRequest(selector=fleet_pb.NodeSelector(labels=dict(labels or {})))
        while True:
            page = await repeated(lambda: self.fleet.ListNodes(request, timeout=ATTEMPT))
            nodes.extend(page.nodes)
            if not page.next_page_token:
                return nodes
            request.page_token = page.next_page_token

    async def inspection(self, node: str) -> dict[str, Any]:
        """The last inspection report of a node."""
        answer = await repeated(lambda: self.fleet.GetInspection(fleet_pb.GetInspectionRequest(node=node), timeout=ATTEMPT))
        return to_dict(answer.report)

    def watch(self, labels: Mapping[str, str] | None = None, *, resume_token: str = "", nodes: Iterable[fleet_pb.Node] = (),
              retry_timeout: float = RETRY_TIMEOUT) -> AsyncNodeWatch:
        """All nodes as ADDED, then what changes about them, until the caller ends it. Another process goes on with the
        `resume_token` and the `nodes` of this one."""
        return AsyncNodeWatch(self.fleet, WatchedNodes(labels, resume_token, nodes), retry_timeout)


def attached_boot(node: fleet_pb.Node) -> str:
    """Which boot of the machine can be called, empty where another gateway knows it; raises where none can."""
    if node.state in (fleet_pb.NODE_STATE_AWAY, fleet_pb.NODE_STATE_UNSPECIFIED):
        raise NodeAway(grpc.StatusCode.UNAVAILABLE, f"the agent of node {node.uuid} is not attached", NodeAway.REASON)
    if node.state == fleet_pb.NODE_STATE_CLOSED:
        raise NodeClosed(grpc.StatusCode.FAILED_PRECONDITION, f"node {node.uuid} was handed over or locked down", NodeClosed.REASON)
    return node.attachment.boot_id


class AsyncNodeWatch:
    """An iterator of changes, over broken connections, restarts of the gateway, and tokens that are too old."""

    def __init__(self, fleet: FleetServiceAsyncStub, state: WatchedNodes, retry_timeout: float):
        self._fleet = fleet
        self._state = state
        self._changes = self._follow(Backoff(retry_timeout))
        # For a watch by another process. It follows when the change after those of a message is asked for, so that none is
        # left out; the last ones may come twice.
        self.resume_token = state.resume_token

    @property
    def nodes(self) -> dict[str, fleet_pb.Node]:
        """The nodes after the last message that was read, by UUID."""
        return self._state.nodes

    def __aiter__(self) -> AsyncNodeWatch:
        return self

    async def __anext__(self) -> NodeChange:
        return await anext(self._changes)

    async def close(self) -> None:
        """Ends the watch."""
        await self._changes.aclose()

    async def _follow(self, backoff: Backoff) -> AsyncGenerator[NodeChange, None]:
        while True:
            try:
                with typed_errors():
                    async for message in self._fleet.WatchNodes(self._state.request()):
                        backoff.reset()
                        for change in self._state.take(message):
                            yield change
                        self.resume_token = self._state.resume_token
                error = ApiError(grpc.StatusCode.UNAVAILABLE, "the gateway ended the watch")
            except ApiError as broken:
                error = broken
            if not self._state.failed(error):
                await backoff.pause(error)


class AsyncNode:
    """A node. With the channel to an agent and its `agent-token` as metadata it is the agent itself, without a gateway."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, name: str, boot_id: Callable[[], Awaitable[str]] | None = None):
        self.commands = CommandServiceStub(channel)
        # For calls of `commands`.
        self.metadata = metadata
        self.name = name
        # Without it the agent at the other end is asked.
        self._boot_id = boot_id or self._said_boot

    async def _said_boot(self) -> str:
        with typed_errors():
            return (await self.commands.GetStatus(commands_pb.GetStatusRequest(), metadata=self.metadata, timeout=ATTEMPT)).boot_id

    async def boot_id(self) -> str:
        """Which boot of the machine can be called now: `execute` gives an order in no other one when it gets it."""
        return await repeated(self._boot_id)

    async def inventory(self) -> dict[str, Any]:
        """The machine's inventory, read now."""
        request = commands_pb.GetInventoryRequest()
        answer = await repeated(lambda: self.commands.GetInventory(request, metadata=self.metadata, timeout=ATTEMPT))
        return to_dict(answer.inventory)

    async def plan(self, command: Command) -> list[PlannedAction]:
        """What a command would do. Nothing is changed."""
        request = commands_pb.ExecuteCommandRequest(command=command, validate_only=True)
        answer = await repeated(lambda: self.commands.ExecuteCommand(request, metadata=self.metadata, timeout=ATTEMPT))
        return list(answer.plan.actions)

    async def cancel(self, identifier: str, reason: str) -> CommandRecord:
        """Asks a command to stop: its record then."""
        request = commands_pb.CancelCommandRequest(id=identifier, reason=reason)
        return (await repeated(lambda: self.commands.CancelCommand(request, metadata=self.metadata, timeout=ATTEMPT))).command

    async def execute(self, command: Command, *, identifier: str | None = None, boot_id: str = "", deadline: timedelta | None = None,
                      wait: bool = True, retry_timeout: float = RETRY_TIMEOUT, observer: Observer | None = None) -> CommandRecord:
        """Executes a command once and waits for its end, over broken connections and gateways that are started again.

        `identifier`, a UUID, is the caller's: an order that is repeated with it in one boot of the machine is not executed a second
        time. Another boot has no record of it. This call gives the order in one boot only; a caller that may be started again
        keeps what `boot_id()` said beside the identifier, before it orders, and passes it as `boot_id`. After `deadline` the agent
        cancels the command. With `wait=False` the record is answered as soon as the command is admitted. The call fails when
        attempts to reach the agent have failed for `retry_timeout` seconds. `observer` gets
        milestones, progress and log lines.

        Raises CommandFailed when it ran and did not end well, CommandLost when the machine has booted again meanwhile, and
        ApiError for orders that were refused and for a node that stays away.
        """
        order = commands_pb.ExecuteCommandRequest(command=command, id=identifier or str(uuid.uuid4()))
        if deadline is not None:
            order.deadline.CopyFrom(Duration(seconds=deadline.days * 86400 + deadline.seconds, nanos=deadline.microseconds * 1000))
        backoff = Backoff(retry_timeout)
        record = await self._admit(order, boot_id, backoff)
        if wait:
            record = await self._follow(record, backoff, observer)
        if record.state not in (COMMAND_STATE_RUNNING, COMMAND_STATE_SUCCEEDED):
            raise CommandFailed.of(record)
        return record

    async def _admit(self, order: commands_pb.ExecuteCommandRequest, sent_in: str, backoff: Backoff) -> CommandRecord:
        # `sent_in`: the boot in which an order whose answer was lost may have been executed. Another
        # boot has no record of it, and would execute it a second time.
        while True:
            boot = ""
            try:
                boot = await self._boot_id()
                if sent_in and boot and sent_in != boot:
                    raise CommandLost(self.name, order.id)
                with typed_errors():
                    answer = await self.commands.ExecuteCommand(order, metadata=self.metadata, timeout=ATTEMPT)
                backoff.reset()
                return answer.command
            except ApiError as error:
                if not error.NOTHING_DONE:
                    sent_in = sent_in or boot
                await backoff.pause(error)

    async def _follow(self, record: CommandRecord, backoff: Backoff, observer: Observer | None) -> CommandRecord:
        seen = 0
        while record.state == COMMAND_STATE_RUNNING:
            try:
                request = commands_pb.WatchCommandRequest(id=record.id, after_sequence=seen)
                with typed_errors():
                    async for event in self.commands.WatchCommand(request, metadata=self.metadata):
                        backoff.reset()
                        if event.HasField("record"):
                            record = event.record
                        elif event.HasField("milestone"):
                            seen = event.milestone.sequence
                        if observer:
                            observer(event)
                error = ApiError(grpc.StatusCode.UNAVAILABLE, ENDED_STREAM)
            except CommandNotFound as gone:
                raise CommandLost(self.name, record.id) from gone
            except ApiError as broken:
                error = broken
            if record.state == COMMAND_STATE_RUNNING:
                await backoff.pause(error)
        return record

"""The client without asyncio: the same, run by a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from ironic_agent_client.aio import AsyncGateway, AsyncNode, AsyncNodeWatch, Observer
from ironic_agent_client.retry import RETRY_TIMEOUT
from ironic_agent_client.v1.command_pb2 import Command, CommandRecord, PlannedAction
from ironic_agent_client.v1.fleet_service_pb2 import Node as NodeMessage
from ironic_agent_client.watch import NodeChange

T = TypeVar("T")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="ironic-agent-client", daemon=True)
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            # KeyboardInterrupt comes to this thread: the call must not go on in the other one.
            future.cancel()
            raise

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Gateway:
    """The nodes of a gateway, as AsyncGateway has them. Any thread may use it."""

    def __init__(self, address: str, *, ca: str | Path | None = None, cert: str | Path | None = None, key: str | Path | None = None,
                 plaintext: bool = False):
        self._loop = _Loop()

        async def connect() -> AsyncGateway:
            return AsyncGateway(address, ca=ca, cert=cert, key=key, plaintext=plaintext)

        try:
            self._gateway = self._loop.run(connect())
        except BaseException:
            self._loop.stop()
            raise

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and the calls on it."""
        self._loop.run(self._gateway.close())
        self._loop.stop()

    def node(self, node: str) -> Node:
        """A node by its UUID or name."""
        return Node(self._loop, self._gateway.node(node))

    def get_node(self, node: str) -> NodeMessage:
        """A node as the gateway knows it."""
        return self._loop.run(self._gateway.get_node(node))

    def list_nodes(self, labels: Mapping[str, str] | None = None) -> list[NodeMessage]:
        """All nodes, or those with these labels."""
        return self._loop.run(self._gateway.list_nodes(labels))

    def inspection(self, node: str) -> dict[str, Any]:
        """The last inspection report of a node."""
        return self._loop.run(self._gateway.inspection(node))

    def watch(self, labels: Mapping[str, str] | None = None, *, resume_token: str = "", nodes: Iterable[NodeMessage] = (),
              retry_timeout: float = RETRY_TIMEOUT) -> NodeWatch:
        """As AsyncGateway.watch."""
        return NodeWatch(self._loop, self._gateway.watch(labels, resume_token=resume_token, nodes=nodes, retry_timeout=retry_timeout))


class NodeWatch:
    """An iterator of changes, as AsyncNodeWatch."""

    def __init__(self, loop: _Loop, watch: AsyncNodeWatch):
        self._loop = loop
        self._watch = watch

    @property
    def resume_token(self) -> str:
        """For a watch by another process, as of AsyncNodeWatch."""
        return self._watch.resume_token

    @property
    def nodes(self) -> dict[str, NodeMessage]:
        """The nodes after the last message that was read, by UUID."""
        return self._watch.nodes

    def __iter__(self) -> NodeWatch:
        return self

    def __next__(self) -> NodeChange:
        try:
            return self._loop.run(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Ends the watch."""
        self._loop.run(self._watch.close())


class Node:
    """A node, as AsyncNode."""

    def __init__(self, loop: _Loop, node: AsyncNode):
        self._loop = loop
        self._node = node

    def inventory(self) -> dict[str, Any]:
        """The machine's inventory, read now."""
        return self._loop.run(self._node.inventory())

    def plan(self, command: Command) -> list[PlannedAction]:
        """What a command would do. Nothing is changed."""
        return self._loop.run(self._node.plan(command))

    def cancel(self, identifier: str, reason: str) -> CommandRecord:
        """Asks a command to stop: its record then."""
        return self._loop.run(self._node.cancel(identifier, reason))

    def boot_id(self) -> str:
        """As AsyncNode.boot_id."""
        return self._loop.run(self._node.boot_id())

    def execute(self, command: Command, *, identifier: str | None = None, boot_id: str = "", deadline: timedelta | None = None,
                wait: bool = True, retry_timeout: float = RETRY_TIMEOUT, observer: Observer | None = None) -> CommandRecord:
        """As AsyncNode.execute. `observer` is called by the client's thread."""
        return self._loop.run(self._node.execute(command, identifier=identifier, boot_id=boot_id, deadline=deadline, wait=wait,
                                                 retry_timeout=retry_timeout, observer=observer))

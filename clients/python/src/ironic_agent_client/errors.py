"""What goes wrong: one class for each reason that the protocol names, and what a command ended with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from ironic_agent_client.v1.command_pb2 import COMMAND_STATE_CANCELLED, COMMAND_STATE_VERSION_MISMATCH, CommandRecord
from ironic_agent_client.v1.failure_pb2 import Failure

DOMAIN = "ironic.agent.v1"
# Without a reason these say that the call has broken off: the other end was lost, or time was up.
BROKEN = frozenset({
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
})


class ApiError(Exception):
    """An RPC that failed. `reason` is that of its google.rpc.ErrorInfo, or empty; a class of its own stands for each known one."""

    REASON: ClassVar[str] = ""
    # Whether the same call may succeed later.
    TRANSIENT: ClassVar[bool | None] = None
    # Whether it is certain that nothing was done.
    NOTHING_DONE: ClassVar[bool] = False
    known: ClassVar[dict[str, type[ApiError]]] = {}

    def __init__(self, code: grpc.StatusCode, message: str, reason: str = "", metadata: Mapping[str, str] | None = None):
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})

    def __init_subclass__(cls) -> None:
        ApiError.known[cls.REASON] = cls

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later."""
        if self.TRANSIENT is not None:
            return self.TRANSIENT
        return not self.reason and self.code in BROKEN

    @classmethod
    def of(cls, error: grpc.RpcError) -> ApiError:
        """The error of a call, typed by its reason."""
        # Both kinds of gRPC's errors have these methods; no class of theirs does.
        call: Any = error
        code, message = call.code(), call.details() or ""
        for detail in _details(call.trailing_metadata()):
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                typed = cls.known.get(info.reason, ApiError)
                return typed(code, message, info.reason, info.metadata)
        return ApiError(code, message)


def _details(trailers: Iterable[tuple[str, str | bytes]] | None) -> Iterable[Any]:
    for key, value in trailers or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            yield from status_pb2.Status.FromString(value).details


@contextmanager
def typed_errors() -> Iterator[None]:
    """Turns errors of gRPC into those of this module: for calls of the generated stubs."""
    try:
        yield
    except grpc.RpcError as error:
        raise ApiError.of(error) from error


class AgentBusy(ApiError):
    """Another command runs in the background."""

    REASON = "AGENT_BUSY"


class CommandNotFound(ApiError):
    """The agent has no command with this identifier."""

    REASON = "COMMAND_NOT_FOUND"


class CommandIdReused(ApiError):
    """The identifier belongs to another command."""

    REASON = "COMMAND_ID_REUSED"


class CommandNotBuilt(ApiError):
    """The agent does not have this command."""

    REASON = "COMMAND_NOT_BUILT"


class TokenInvalid(ApiError):
    """The agent token is missing or wrong."""

    REASON = "TOKEN_INVALID"


class ShuttingDown(ApiError):
    """The agent stops."""

    REASON = "SHUTTING_DOWN"
    TRANSIENT = True
    NOTHING_DONE = True


class NodeUuidMissing(ApiError):
    """The call does not say which node is meant."""

    REASON = "NODE_UUID_MISSING"


class NodeNotFound(ApiError):
    """The gateway knows no such node."""

    REASON = "NODE_NOT_FOUND"


class NodeNameAmbiguous(ApiError):
    """Several nodes have this name."""

    REASON = "NODE_NAME_AMBIGUOUS"


class NodeAway(ApiError):
    """The node's agent is not attached."""

    REASON = "NODE_AWAY"
    TRANSIENT = True
    NOTHING_DONE = True


class NodeElsewhere(ApiError):
    """The node's agent is attached to another gateway."""

    REASON = "NODE_ELSEWHERE"
    TRANSIENT = True
    NOTHING_DONE = True


class NodeLost(ApiError):
    """The connection to the agent broke during the call: it may have done what was asked."""

    REASON = "NODE_LOST"
    TRANSIENT = True


class NodeClosed(ApiError):
    """The machine was handed over to a rescuer or locked down."""

    REASON = "NODE_CLOSED"


class TooManyWaiting(ApiError):
    """Too many calls wait for agents that are away."""

    REASON = "TOO_MANY_WAITING"
    TRANSIENT = True
    NOTHING_DONE = True


class PageTokenInvalid(ApiError):
    """The page token is not one that ListNodes answered."""

    REASON = "PAGE_TOKEN_INVALID"


class NoInspection(ApiError):
    """The gateway has no inspection report of the node."""

    REASON = "NO_INSPECTION"


class WatchExpired(ApiError):
    """The resume token is too old: the list comes anew. `watch` does that by itself."""

    REASON = "WATCH_EXPIRED"


class WatcherSlow(ApiError):
    """Messages of a watch were not read in time. `watch` goes on by itself."""

    REASON = "WATCHER_SLOW"
    TRANSIENT = True


class GatewayStopping(ApiError):
    """The gateway ends, and the watch with it. `watch` goes on by itself when it reaches a gateway."""

    REASON = "GATEWAY_STOPPING"
    TRANSIENT = True


class TooManyWatchers(ApiError):
    """The gateway serves as many watches as it can."""

    REASON = "TOO_MANY_WATCHERS"
    TRANSIENT = True
    NOTHING_DONE = True


class EnrollmentMethodOff(ApiError):
    """The gateway does not issue certificates by this method."""

    REASON = "ENROLLMENT_METHOD_OFF"


class JoinTokenRequestInvalid(ApiError):
    """A join token cannot be made as it was asked for."""

    REASON = "JOIN_TOKEN_REQUEST_INVALID"


class JoinTokenNotFound(ApiError):
    """There is no such join token."""

    REASON = "JOIN_TOKEN_NOT_FOUND"


class TooManyJoinTokens(ApiError):
    """The gateway keeps as many join tokens as it can."""

    REASON = "TOO_MANY_JOIN_TOKENS"


class StateUnusable(ApiError):
    """The gateway cannot write its state directory."""

    REASON = "STATE_UNUSABLE"
    TRANSIENT = True
    NOTHING_DONE = True


class RoleMissing(ApiError):
    """The gateway's policy gives the caller no role that may do this."""

    REASON = "ROLE_MISSING"


class PolicyChanged(ApiError):
    """The caller may see other nodes than before: the list comes anew. `watch` does that by itself."""

    REASON = "POLICY_CHANGED"


class OrderUnreadable(ApiError):
    """The gateway could not read the order."""

    REASON = "ORDER_UNREADABLE"


class LogRequestInvalid(ApiError):
    """A request of FollowLogs that makes no sense."""

    REASON = "LOG_REQUEST_INVALID"


class LogSourceUnavailable(ApiError):
    """A source of FollowLogs that cannot be read on this machine."""

    REASON = "LOG_SOURCE_UNAVAILABLE"


class LogReaderSlow(ApiError):
    """Records were not read in time: go on from the last cursor."""

    REASON = "LOG_READER_SLOW"
    TRANSIENT = True


class TooManyLogReaders(ApiError):
    """The agent serves as many readers as it can."""

    REASON = "TOO_MANY_LOG_READERS"
    TRANSIENT = True
    NOTHING_DONE = True


class CommandFailed(Exception):
    """A command that ran and did not end well. `failure` says why; `failure.kind` is Ironic's class of the error."""

    def __init__(self, record: CommandRecord):
        self.record = record
        self.failure: Failure = record.failure
        super().__init__(f"{record.name}: {self.failure.kind}: {self.failure.details or self.failure.message}")

    @staticmethod
    def of(record: CommandRecord) -> CommandFailed:
        """The error of a record in state FAILED, VERSION_MISMATCH or CANCELLED."""
        if record.state == COMMAND_STATE_CANCELLED:
            return CommandCancelled(record)
        if record.state == COMMAND_STATE_VERSION_MISMATCH:
            return VersionMismatch(record)
        return CommandFailed(record)


class CommandCancelled(CommandFailed):
    """It was cancelled, by a caller or its deadline."""


class VersionMismatch(CommandFailed):
    """The hardware managers are not those that the step was planned with."""


class CommandLost(Exception):
    """The machine has booted again since the order was sent: how the command ended is not known, and it is not repeated."""

    def __init__(self, node: str, identifier: str):
        super().__init__(f"node {node} has booted again: what became of command {identifier} is not known")
        self.node = node
        self.identifier = identifier

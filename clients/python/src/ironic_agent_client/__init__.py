"""Client of ironic-agent's gRPC API. `v1` has the generated messages and services."""

from ironic_agent_client.aio import AsyncGateway, AsyncNode, AsyncNodeWatch, open_channel
from ironic_agent_client.blocking import Gateway, Node, NodeWatch
from ironic_agent_client.documents import to_dict, to_python, to_struct
from ironic_agent_client.errors import ApiError, CommandCancelled, CommandFailed, CommandLost, VersionMismatch, typed_errors
from ironic_agent_client.watch import NodeChange, WatchedNodes

__all__ = [
    "ApiError",
    "AsyncGateway",
    "AsyncNode",
    "AsyncNodeWatch",
    "CommandCancelled",
    "CommandFailed",
    "CommandLost",
    "Gateway",
    "Node",
    "NodeChange",
    "NodeWatch",
    "VersionMismatch",
    "WatchedNodes",
    "open_channel",
    "to_dict",
    "to_python",
    "to_struct",
    "typed_errors",
]

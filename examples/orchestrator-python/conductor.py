#!/usr/bin/env python3
"""A reference orchestrator without a gateway: it serves ConductorService itself, and agents attach to it.

    conductor.py --listen 0.0.0.0:9998 --ca agents-ca.crt --cert orchestrator.crt --key orchestrator.key \\
        --state tokens.json --nodes nodes.json deployments.json
    ironic-agent --grpc_listen none --conductor https://orchestrator.example:9998 --grpc_tls_ca_file ca.crt …

The file of nodes says which machine is which, by its MAC addresses or the UUID that its firmware says:

    [{"uuid": "1be26c0b-03f2-4d2e-ae87-c02d7f33c781", "name": "rack1-1", "macs": ["52:54:00:e2:e0:01"]}]

The other file is that of orchestrator.py. Each node is deployed when its agent attaches. Orders and digests of agents' tokens are kept.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from ironic_agent_client import AsyncNode, open_channel, to_struct
from ironic_agent_client.errors import NodeAway
from ironic_agent_client.v1 import conductor_service_pb2 as pb
from ironic_agent_client.v1.conductor_service_pb2_grpc import ConductorServiceServicer, add_ConductorServiceServicer_to_server
from orchestrator import Deployment, KeptOrders, say

Context = grpc.aio.ServicerContext[Any, Any]
SILENCE = 20  # seconds: proxies end streams that are silent for longer
CHUNK = 65536


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Attachments:
    """What leads to one agent: a socket in the file system whose bytes go over the stream that the agent has opened."""

    def __init__(self, path: Path):
        self.path = path
        self.boot_id = ""
        self.newest: asyncio.Task[Any] | None = None
        self.connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def listen(self) -> None:
        """The newest connection of gRPC's waits here until an agent attaches."""
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while not self.connections.empty():
                self.connections.get_nowait()[1].close()
            self.connections.put_nowait((reader, writer))

        await asyncio.start_unix_server(accept, self.path)

    async def attached_boot(self) -> str:
        """Which boot of the machine is attached."""
        if not self.boot_id:
            raise NodeAway(grpc.StatusCode.UNAVAILABLE, "the agent is not attached", NodeAway.REASON)
        return self.boot_id

    async def carry(self, boot_id: str, requests: AsyncIterator[pb.AttachRequest]) -> AsyncIterator[pb.AttachResponse]:
        """Passes bytes in both directions until one of them ends."""
        connecting: asyncio.Task[Any] = asyncio.create_task(self.connections.get())
        receiving = reading = connecting
        try:
            self.boot_id, self.newest = boot_id, connecting
            while not (await asyncio.wait([connecting], timeout=SILENCE))[0]:
                yield pb.AttachResponse()
            reader, writer = connecting.result()

            async def receive() -> None:
                async for request in requests:
                    writer.write(request.data)
                    await writer.drain()

            receiving, reading = asyncio.create_task(receive()), asyncio.create_task(reader.read(CHUNK))
            while not receiving.done():
                await asyncio.wait([reading, receiving], timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    yield pb.AttachResponse()
                elif data := reading.result():
                    yield pb.AttachResponse(data=data)
                    reading = asyncio.create_task(reader.read(CHUNK))
                else:
                    break
        finally:
            if self.newest is connecting:
                self.boot_id = ""
            # One that waits must not take the connection of the next attachment; one that has come ends here.
            if not connecting.cancel():
                connecting.result()[1].close()
            receiving.cancel()
            reading.cancel()


class Conductor(ConductorServiceServicer):
    """Says which machine is which node, believes the tokens that it has given, and deploys who attaches."""

    def __init__(self, nodes: list[dict[str, Any]], jobs: dict[str, Any], state: Path, run: str, kept: KeptOrders):
        self.nodes = {node["uuid"]: node for node in nodes}
        self.jobs = {uuid: jobs[key] for uuid, node in self.nodes.items() for key in (uuid, node.get("name")) if key in jobs}
        self.state, self.run, self.kept = state, run, kept
        self.digests: dict[str, list[str]] = json.loads(state.read_text()) if state.exists() else {}
        self.directory = tempfile.TemporaryDirectory()
        self.attachments = {uuid: Attachments(Path(self.directory.name, uuid)) for uuid in self.nodes}
        self.deploying: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self.everyone = asyncio.Event()

    async def Lookup(self, request: pb.LookupRequest, context: Context) -> pb.LookupResponse:
        addresses = {address.lower() for address in request.addresses}
        for uuid, node in self.nodes.items():
            if addresses & set(node.get("macs", [])) or request.system_uuid and request.system_uuid == node.get("system_uuid"):
                # An agent that asks again about its node keeps its token.
                token = "******" if self.attachments[uuid].boot_id else self.new_token(uuid)
                document = {"uuid": uuid, "properties": node.get("properties", {}), "instance_info": {}, "driver_internal_info": {}}
                session = pb.Session(node=to_struct(document), heartbeat_timeout=Duration(seconds=60), config=pb.SessionConfig(agent_token=token))
                return pb.LookupResponse(session=session)
        return pb.LookupResponse(retry=pb.LookupRetry(reason="the file of nodes names no such machine"))

    async def Heartbeat(self, requests: AsyncIterator[pb.HeartbeatRequest], context: Context) -> AsyncIterator[pb.HeartbeatResponse]:
        hello = (await anext(requests)).hello
        await self.believe(hello.node_uuid, hello.agent_token, context)
        # Opens the session; the agent begins to beat.
        await context.send_initial_metadata(())
        async for request in requests:
            if request.HasField("farewell"):
                return
            accepted = pb.HEARTBEAT_VERDICT_ACCEPTED if request.HasField("beat") else pb.HEARTBEAT_VERDICT_UNSPECIFIED
            yield pb.HeartbeatResponse(sequence=request.beat.sequence, verdict=accepted, status=202)

    async def SubmitInspection(self, request: pb.SubmitInspectionRequest, context: Context) -> pb.SubmitInspectionResponse:
        return pb.SubmitInspectionResponse(verdict=pb.INSPECTION_VERDICT_DISABLED)

    async def Attach(self, requests: AsyncIterator[pb.AttachRequest], context: Context) -> AsyncIterator[pb.AttachResponse]:
        hello = (await anext(requests)).hello
        await self.believe(hello.node_uuid, hello.agent_token, context)
        yield pb.AttachResponse(accepted=pb.AttachAccepted())
        uuid, attachments = hello.node_uuid, self.attachments[hello.node_uuid]
        if uuid in self.jobs and uuid not in self.deploying:
            node = AsyncNode(open_channel(f"unix:{attachments.path}"), (("agent-token", hello.agent_token),), uuid, attachments.attached_boot)
            deployment = Deployment(self.nodes[uuid].get("name", uuid), node, self.jobs[uuid], self.run, self.kept)
            self.deploying[uuid] = asyncio.create_task(deployment.deploy())
            if len(self.deploying) == len(self.jobs):
                self.everyone.set()
        say(uuid, "attached")
        async for response in attachments.carry(hello.boot_id, requests):
            yield response

    def new_token(self, uuid: str) -> str:
        """A token for the node. The one before it stays: its answer may not have arrived."""
        token = secrets.token_hex(20)
        self.digests[uuid] = [digest(token), *self.digests.get(uuid, [])][:2]
        self.state.write_text(json.dumps(self.digests))
        return token

    async def believe(self, uuid: str, token: str, context: Context) -> None:
        """Ends the call of one who does not have the node's token."""
        if not any(hmac.compare_digest(kept, digest(token)) for kept in self.digests.get(uuid, [])):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this is not the token of the node")


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True, help="ADDRESS:PORT where agents attach")
    for option in ("ca", "cert", "key"):
        parser.add_argument(f"--{option}", type=Path, help="file: authority of the agents, own certificate, its key; or no TLS")
    parser.add_argument("--state", type=Path, required=True, help="file for digests of the tokens")
    parser.add_argument("--nodes", type=Path, required=True)
    parser.add_argument("deployments", type=Path)
    arguments = parser.parse_args()
    text = arguments.deployments.read_bytes()
    kept, run = KeptOrders(Path(f"{arguments.deployments}.orders")), hashlib.sha256(text).hexdigest()
    conductor = Conductor(json.loads(arguments.nodes.read_text()), json.loads(text), arguments.state, run, kept)
    server = grpc.aio.server()
    add_ConductorServiceServicer_to_server(conductor, server)
    if arguments.cert:
        authority, chain, key = (path.read_bytes() for path in (arguments.ca, arguments.cert, arguments.key))
        server.add_secure_port(arguments.listen, grpc.ssl_server_credentials([(key, chain)], authority, True))
    else:
        server.add_insecure_port(arguments.listen)
    await asyncio.gather(*(attachments.listen() for attachments in conductor.attachments.values()))
    await server.start()
    await conductor.everyone.wait()
    reports = await asyncio.gather(*conductor.deploying.values())
    await server.stop(1)
    print(json.dumps(reports, indent=2))
    return 0 if all(report["state"] == "deployed" for report in reports) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

#!/usr/bin/env python3
"""A reference orchestrator: deploys the nodes that a file names, through a gateway, and reports.

    orchestrator.py --gateway gw.example:9997 --ca gw-ca.crt --cert me.crt --key me.key deployments.json

The file maps names or UUIDs of nodes to what each is to hold:

    {"rack1-1": {"image": {"urls": ["https://images.example/debian-12.raw"], "sha256": "..."}}}

Each node is deployed as soon as its agent can be called, through this gateway or another one: inventory, plan, erase, write,
reboot. The identifiers of the commands are made of the file's content, and what became of them is kept beside it: an orchestrator
that is started again goes on where it was, and gives no order to another boot of the machine. `--run` makes them others.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from ironic_agent_client import ApiError, AsyncGateway, AsyncNode, CommandFailed, CommandLost
from ironic_agent_client.v1 import order_pb2 as orders
from ironic_agent_client.v1.command_pb2 import Command, RunImageCommand
from ironic_agent_client.v1.command_service_pb2 import WatchCommandResponse
from ironic_agent_client.v1.fleet_service_pb2 import NODE_STATE_ATTACHED, NODE_STATE_ELSEWHERE, NodeEventKind


def say(node: str, text: str) -> None:
    """A line for a person."""
    print(f"{time.strftime('%H:%M:%S')} {node}: {text}", file=sys.stderr, flush=True)


def commands(image: dict[str, Any]) -> dict[str, Command]:
    """What is done to a node, in this order."""
    digest = orders.ImageDigest(algorithm=orders.DIGEST_ALGORITHM_SHA256, value=image["sha256"])
    return {
        "erase": Command(erase=orders.EraseCommand(policy=orders.ErasePolicy(scope=orders.ERASE_SCOPE_METADATA))),
        "write": Command(write_image=orders.WriteImageCommand(image=orders.Image(urls=image["urls"], digest=digest))),
        "reboot": Command(run_image=RunImageCommand()),
    }


class KeptOrders:
    """Of each order the boot in which it was given first, and whether it is done: what must survive the orchestrator."""

    def __init__(self, path: Path):
        self.path = path
        self.orders: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def is_done(self, identifier: str) -> bool:
        """Whether it was carried out."""
        return bool(self.orders.get(identifier, {}).get("done"))

    async def boot_id(self, identifier: str, node: AsyncNode) -> str:
        """The only boot in which it may be given. It is kept before the order is sent."""
        if identifier not in self.orders:
            self.keep(identifier, await node.boot_id(), done=False)
        return str(self.orders[identifier]["boot_id"])

    def keep(self, identifier: str, boot_id: str, *, done: bool) -> None:
        """Replaces the file: one that is half written would forget everything."""
        self.orders[identifier] = {"boot_id": boot_id, "done": done}
        draft = self.path.with_name(f"{self.path.name}.new")
        with draft.open("w") as file:
            json.dump(self.orders, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


class Deployment:
    """One node on its way to its image."""

    def __init__(self, name: str, node: AsyncNode, job: dict[str, Any], run: str, kept: KeptOrders):
        self.name = name
        self.node = node
        self.job = job
        self.run = run
        self.kept = kept
        self.shown = 0.0

    async def deploy(self) -> dict[str, Any]:
        """The node's part of the report. What goes wrong is in it."""
        report: dict[str, Any] = {"node": self.name, "state": "failed", "seconds": {}}
        try:
            inventory = await self.node.inventory()
            report["disks"] = [disk["name"] for disk in inventory["disks"]]
            say(self.name, f"{inventory['cpu']['count']} CPUs, disks {', '.join(report['disks'])}")
            for step, command in commands(self.job["image"]).items():
                began = time.monotonic()
                await self.step(step, command)
                report["seconds"][step] = round(time.monotonic() - began, 1)
            report["state"] = "deployed"
        except CommandFailed as error:
            report["error"] = {"kind": error.failure.kind, "text": str(error)}
        except ApiError as error:
            report["error"] = {"kind": error.reason or error.code.name, "text": str(error)}
        except CommandLost as error:
            report["error"] = {"kind": "CommandLost", "text": str(error)}
        say(self.name, report["state"])
        return report

    async def step(self, step: str, command: Command) -> None:
        """One command, once, whatever breaks meanwhile."""
        identifier = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.run}/{self.name}/{step}"))
        if self.kept.is_done(identifier):
            say(self.name, f"{step}: was done before")
            return
        boot_id = await self.kept.boot_id(identifier, self.node)
        for action in await self.node.plan(command):
            say(self.name, f"{step}: {action.description}{' DESTROYS DATA' if action.destructive else ''}")
        try:
            await self.node.execute(command, identifier=identifier, boot_id=boot_id, observer=lambda event: self.show(step, event))
        except CommandLost:
            # That the machine boots is what was ordered.
            if step != "reboot":
                raise
        self.kept.keep(identifier, boot_id, done=True)
        say(self.name, f"{step}: done")

    def show(self, step: str, event: WatchCommandResponse) -> None:
        """Progress, at most once a second."""
        if event.HasField("milestone"):
            say(self.name, f"{step}: {event.milestone.text}")
        elif event.HasField("progress") and time.monotonic() - self.shown >= 1:
            self.shown = time.monotonic()
            progress = event.progress
            share = f"{100 * progress.done // progress.total} %" if progress.total else f"{progress.done} {progress.unit or 'bytes'}"
            say(self.name, f"{step}: {progress.phase} {share}")


async def orchestrate(gateway: AsyncGateway, jobs: dict[str, Any], run: str, kept: KeptOrders) -> list[dict[str, Any]]:
    """Watches the fleet and deploys each node of the file when it is there."""
    deploying: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def follow() -> None:
        async for change in gateway.watch():
            node = change.node
            name = next((key for key in (node.name, node.uuid) if key in jobs), None)
            if name is None:
                continue
            kind = NodeEventKind.Name(change.kind).removeprefix("NODE_EVENT_KIND_").lower()
            if not kind.startswith("command_progress"):
                say(name, kind)
            if node.state in (NODE_STATE_ATTACHED, NODE_STATE_ELSEWHERE) and name not in deploying:
                deployment = Deployment(name, gateway.node(node.uuid), jobs[name], run, kept)
                deploying[name] = asyncio.create_task(deployment.deploy())
                if len(deploying) == len(jobs):
                    everyone.set()

    everyone = asyncio.Event()
    following = asyncio.create_task(follow())
    begun = asyncio.create_task(everyone.wait())
    await asyncio.wait([following, begun], return_when=asyncio.FIRST_COMPLETED)
    if following.done():
        await following
    reports = list(await asyncio.gather(*deploying.values()))
    following.cancel()
    return reports


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", required=True, help="HOST:PORT or unix:PATH of its fleet_listen")
    parser.add_argument("--ca", help="file of the authority that signed the gateway's certificate")
    parser.add_argument("--cert", help="file of the own certificate")
    parser.add_argument("--key", help="file of its key")
    parser.add_argument("--plaintext", action="store_true", help="no TLS: the gateway is on this machine and has none")
    parser.add_argument("--state", type=Path, help="file for what became of the orders; DEPLOYMENTS.orders when not given")
    parser.add_argument("--run", help="names this run: with another one everything is done again")
    parser.add_argument("deployments", type=Path)
    arguments = parser.parse_args()
    text = arguments.deployments.read_bytes()
    kept = KeptOrders(arguments.state or Path(f"{arguments.deployments}.orders"))
    run = arguments.run or hashlib.sha256(text).hexdigest()
    async with AsyncGateway(arguments.gateway, ca=arguments.ca, cert=arguments.cert, key=arguments.key,
                            plaintext=arguments.plaintext) as gateway:
        reports = await orchestrate(gateway, json.loads(text), run, kept)
    print(json.dumps(reports, indent=2))
    return 0 if all(report["state"] == "deployed" for report in reports) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

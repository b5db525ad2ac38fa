"""Commands while everything that carries them is killed with SIGKILL at random moments.

Half of the orders are Ironic's: REST requests to either gateway, without an identifier. As Ironic does, what got no answer
is looked up in the list of commands, and sent again if it is not there. The others are an orchestrator's: gRPC calls with an
identifier, which are repeated until they are answered. Each order notes in a file that it was executed. Killed are the agent,
a gateway, NATS, the connections between the agent and the gateways, and the orchestrator's client.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import client
import conductor
from cable import Cable
from loopback import Certificates, free_port

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = pathlib.Path(os.environ["TEST_PROGRAMS"])
# Seconds: one call; until an order must have ended.
CALL, TIMEOUT = client.CALL, client.TIMEOUT


def card():
    """The MAC address of a network card of this machine: a simulated machine has those."""
    for device in sorted(pathlib.Path("/sys/class/net").iterdir()):
        if (device / "device").exists():
            return (device / "address").read_text().strip()
    sys.exit("this machine has no network card, by which the simulated machine would be looked up")


class Process:
    """A program that can be killed and started again."""

    def __init__(self, name, argv, room, environment=None):
        self.name, self.argv = name, [str(word) for word in argv]
        self.log, self.environment = room / f"{name}.log", {**os.environ, **(environment or {})}
        self.child = self.spawn()

    def spawn(self):
        with open(self.log, "ab") as log:
            return subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)

    def start(self):
        self.child = self.spawn()

    def kill(self):
        self.child.kill()
        self.child.wait()


class Site:
    """One machine, two gateways, NATS, and Ironic."""

    def __init__(self, room):
        self.room = room
        self.conductor = conductor.serve()
        self.executed = room / "executed"
        self.executed.touch()
        # Identifiers of the commands that have ended.
        self.known = set()
        certificates = Certificates(room, PROGRAMS / "openssl")
        nats, virtual = free_port(), free_port()
        self.rest = [free_port() for _ in range(2)]
        self.fleet = [room / f"fleet-{index}.sock" for index in range(2)]
        conductors = [free_port() for _ in range(2)]
        self.cables = [Cable("connection", free_port(), port) for port in conductors]
        addresses = [cable.listener.getsockname()[1] for cable in self.cables]
        self.nats = Process("nats", [PROGRAMS / "nats-server", "--addr", "127.0.0.1", "--port", nats], room)
        # Otherwise a gateway knows a node only when it has seen it.
        nodes = room / "nodes"
        nodes.mkdir()
        (nodes / "node.json").write_text(json.dumps({"uuid": conductor.NODE, "macs": [card()]}))
        self.gateways = []
        for index in range(2):
            peer = free_port()
            self.gateways.append(Process(f"gateway-{index}", [
                os.environ["SHIM"], "--gateway_url", f"http://127.0.0.1:{virtual}", "--listen_host", "127.0.0.1",
                "--listen_port", self.rest[index], "--conductor_listen", f"127.0.0.1:{conductors[index]}",
                "--api_url", f"http://127.0.0.1:{self.conductor.server_port}",
                "--state_dir", room / f"gateway-{index}", "--node_dir", room / "nodes", "--fleet_listen", f"unix:{self.fleet[index]}",
                "--directory", f"nats://127.0.0.1:{nats}", "--peer_listen", f"127.0.0.1:{peer}",
                "--peer_url", f"https://127.0.0.1:{peer}", "--peer_tls_cert_file", certificates.cert,
                "--peer_tls_key_file", certificates.key, "--peer_tls_ca_file", certificates.ca,
            ], room))
        managers, disks = room / "managers", room / "disks"
        managers.mkdir()
        disks.mkdir()
        with open(disks / "sda", "wb") as disk:
            disk.truncate(16 << 20)
        program = managers / "noting-manager"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} {HERE / 'manager.py'} \"$@\"\n")
        program.chmod(0o755)
        self.agent = Process("agent", [
            os.environ["AGENT"], "--simulate", disks, "--grpc_listen", "none", "--state_dir", room / "agent",
            "--conductor", ",".join(f"http://127.0.0.1:{port}" for port in addresses),
            "--hardware_managers_dir", managers,
        ], room, {"EXECUTED": str(self.executed)})

    def wait(self):
        """Until a command can be sent: a program that does not start is named with what it says."""
        end = time.monotonic() + TIMEOUT
        while (answer := self.ask("GET", f"?agent_token={conductor.TOKEN}")) is None or answer[0] != 200:
            for process in self.processes():
                if process.child.poll() is not None:
                    sys.exit(f"{process.name} has ended: {process.log.read_text(errors='replace')[-2000:]}")
            if time.monotonic() > end:
                sys.exit(f"the agent did not attach within {TIMEOUT} s: {answer}")
            time.sleep(0.1)

    def processes(self):
        return [self.agent, *self.gateways, self.nats]

    def victims(self):
        return [*self.processes(), *self.cables]

    def close(self):
        for process in self.processes():
            process.kill()

    # Ironic's way ----------------------------------------------------------------------------------

    def ask(self, method, path, body=None):
        """One request to one of the gateways, as behind a virtual address. None: no answer."""
        port = random.choice(self.rest)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL)
        try:
            connection.request(method, f"/nodes/{conductor.NODE}/v1/commands/{path}", body and json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def insist(self, method, path):
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            answer = self.ask(method, path)
            if answer is not None:
                return answer
            time.sleep(0.02)
        raise AssertionError(f"no answer to {method} {path} within {TIMEOUT} s")

    def records(self):
        status, document = self.insist("GET", f"?agent_token={conductor.TOKEN}")
        assert status == 200, document
        return document["commands"]

    def find(self):
        """The record of the order that was sent last, if the agent has it."""
        new = [record for record in self.records() if record["id"] not in self.known]
        assert len(new) <= 1, new
        return new[0] if new else None

    def order_by_rest(self, order, seconds):
        body = {"name": "clean.execute_clean_step",
                "params": {"step": step(order, seconds), "node": {"uuid": conductor.NODE}, "ports": []}}
        record, tries = None, 0
        while record is None:
            tries += 1
            answer = self.ask("POST", f"?wait=false&agent_token={conductor.TOKEN}", body)
            if answer is None:
                record = self.find()
            else:
                status, record = answer
                assert status == 200, (order, record)
        end = time.monotonic() + TIMEOUT
        while record["command_status"] == "RUNNING":
            assert time.monotonic() < end, f"{order} does not end: {record}"
            time.sleep(0.05)
            status, record = self.insist("GET", f"{record['id']}?agent_token={conductor.TOKEN}")
            assert status == 200, (order, record)
        return record["id"], record["command_status"], tries

    # An orchestrator's way -------------------------------------------------------------------------

    def client(self, order, seconds):
        return client.ClientProcess([str(path) for path in self.fleet], conductor.NODE, order, step(order, seconds))


def step(order, seconds):
    return {"step": "note_execution", "interface": "deploy", "priority": 0, "args": {"order": order, "seconds": seconds}}


def round_of(site, chance, number):
    """One order, and one kill during it."""
    order, by_rest = str(uuid.UUID(int=chance.getrandbits(128), version=4)), number % 2 == 0
    seconds, delay = chance.uniform(0, 0.4), chance.uniform(0, 0.6)
    down = chance.choice([0, chance.uniform(0, 2)])
    # A conductor that is killed gives its deployment up: there is no identifier to go on with.
    caller = None if by_rest else site.client(order, seconds)
    # The client is picked as often as each gateway.
    victim = chance.choice(site.victims() if by_rest else [*site.victims(), caller])

    def kill():
        time.sleep(delay)
        victim.kill()
        time.sleep(down)
        victim.start()

    killing = threading.Thread(target=kill)
    killing.start()
    begin = time.monotonic()
    try:
        identifier, status, tries = caller.wait() if caller else site.order_by_rest(order, seconds)
    finally:
        killing.join()
    if caller:
        # Of a client that was started again after its answer, that is another one.
        assert caller.wait()[:2] == (identifier, status), f"{order} is two commands"
        caller.child.join()
    site.known.add(identifier)
    return {"order": order, "id": identifier, "status": status, "tries": tries, "victim": victim.name,
            "way": "REST" if by_rest else "gRPC", "seconds": time.monotonic() - begin}


def check(site, rounds):
    """What was lost and what was executed twice."""
    executed = collections.Counter(site.executed.read_text().split())
    known = {record["id"]: record for record in site.records()}
    lost, twice = [], []
    for it in rounds:
        record, times = known.get(it["id"]), executed[it["order"]]
        # An order whose agent was killed may have failed before or after it began; it says so.
        if record is None or record["command_status"] != it["status"] or (it["status"] == "SUCCEEDED" and times == 0):
            lost.append(it)
        if times > 1:
            twice.append(it)
    extra = len(known) - len(rounds)
    return lost, twice, extra


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    room = pathlib.Path(tempfile.mkdtemp(prefix="kills-"))
    print(f"seed {arguments.seed}, logs in {room}")
    site = Site(room)
    rounds = []
    try:
        site.wait()
        for number in range(arguments.kills):
            rounds.append(round_of(site, chance, number))
            if (number + 1) % 10 == 0 or number + 1 == arguments.kills:
                print(f"{number + 1} of {arguments.kills} kills")
        lost, twice, extra = check(site, rounds)
    finally:
        site.close()
    print("| killed | way | orders | succeeded | failed | sent again | median s | longest s |")
    print("|---|---|---|---|---|---|---|---|")
    groups = collections.defaultdict(list)
    for it in rounds:
        groups[it["victim"], it["way"]].append(it)
    for (victim, way), those in sorted(groups.items()):
        times = sorted(it["seconds"] for it in those)
        good = sum(it["status"] == "SUCCEEDED" for it in those)
        again = sum(it["tries"] > 1 for it in those)
        print(f"| {victim} | {way} | {len(those)} | {good} | {len(those) - good} | {again} "
              f"| {times[len(times) // 2]:.2f} | {times[-1]:.2f} |")
    print(f"lost: {len(lost)}; executed twice: {len(twice)}; commands that nobody ordered: {extra}")
    survivors = [it for it in rounds if it["victim"] != "agent" and it["status"] != "SUCCEEDED"]
    for name, those in (("lost", lost), ("executed twice", twice), ("failed although the agent lived", survivors)):
        for it in those:
            print(f"{name}: {it}")
    if lost or twice or extra or survivors:
        sys.exit(1)
    shutil.rmtree(room)


if __name__ == "__main__":
    main()

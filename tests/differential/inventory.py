"""What the machine is, by the Python agent and by ours, on the machine that runs this.

    inventory.py PYTHON AGENT SHIM

Both only read. The Python agent needs lshw and udevadm, which `prepare` unpacks; ours runs no
program. The same keys and values are expected, save what `DIFFERENCES` allows.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from side import Side, free_port
from suite import TOKEN, spawn

THEIRS = """
import json, sys, time
from oslo_config import cfg
from ironic_python_agent import config
from ironic_python_agent import encoding, hardware
cfg.CONF([], project="ironic-python-agent", default_config_files=[])
manager = hardware.GenericHardwareManager()
begin = time.monotonic()
inventory = encoding.RESTJSONEncoder().encode(manager.list_hardware_info())
print(json.dumps({"seconds": time.monotonic() - begin, "inventory": json.loads(inventory)}))
"""

# Path of the value (items of lists by their names) and why ours may be another.
DIFFERENCES = {
    "interfaces/*/speed_mbps": "lshw knows link modes up to 40 Gbit/s only and none of virtio",
    "disks/*/tran": "the transport of virtio disks is reported; older lsblk do not know it",
    "disks/*/serial": "virtio disks have a serial number in the kernel, also without udev",
    "disks/*/by_path": "reported also where no udev makes links",
    "cpu/frequency": "the present frequency where the kernel tells no maximum; newer lscpu tell none",
    "cpu/flags": "in the kernel's order",
}


def walk(value, path=""):
    """Paths and values of the leaves; items of a list of objects go by their names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, f"{path}/{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from walk(item, f"{path}/{item['name']}")
    else:
        yield path.lstrip("/"), value


def allowed(path):
    parts = path.split("/")
    first, last = parts[0], parts[-1]
    return DIFFERENCES.get(path) or DIFFERENCES.get(f"{first}/*/{last}")


def ours(room, agent, shim):
    """The inventory and the seconds that it took, through the REST server."""
    settings, port, socket = room / "settings.conf", free_port(), f"unix:{room}/agent.sock"
    settings.write_text("[DEFAULT]\n")
    side = Side("ours", port, [
        spawn(open(room / "agent.log", "wb"), agent, "--config-file", settings, "--standalone",
              "--grpc-listen", socket, "--state-dir", room / "agent", "--agent_token", TOKEN),
        spawn(open(room / "shim.log", "wb"), shim, "--config-file", settings,
              "--listen_host", "127.0.0.1", "--listen_port", port, "--agent", socket,
              "--conductor-listen", f"unix:{room}/conductor.sock",
              "--state-dir", room / "shim", "--agent_token", TOKEN)], TOKEN)
    try:
        side.wait_until_served()
        body = json.dumps({"name": "poll.get_hardware_info", "params": {}})
        request = (f"POST /v1/commands/?wait=true&agent_token={TOKEN} HTTP/1.0\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
        times = []
        for _ in range(5):
            begin = time.monotonic()
            answer = side.ask(request)
            times.append(time.monotonic() - begin)
        return json.loads(answer["text"])["command_result"], min(times)
    finally:
        side.stop()


def main():
    python, agent, shim = sys.argv[1:]
    output = subprocess.run([python, "-c", THEIRS], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE).stdout
    theirs = json.loads(output)
    with tempfile.TemporaryDirectory(prefix="inventory-") as room:
        inventory, seconds = ours(pathlib.Path(room), agent, shim)
    expected, found = dict(walk(theirs["inventory"])), dict(walk(inventory))
    wrong = 0
    for path in dict.fromkeys([*expected, *found]):
        here, there = found.get(path, "<absent>"), expected.get(path, "<absent>")
        if here == there:
            continue
        if path == "cpu/flags" and sorted(here) == sorted(there):
            continue
        reason = allowed(path)
        print(f"{'differs' if reason else 'DIFFERENT'} {path}: theirs {there!r}, ours {here!r}"
              + (f" ({reason})" if reason else ""))
        wrong += reason is None
    print(f"inventory: {len(expected)} values, {wrong} wrong; the Python agent took "
          f"{theirs['seconds']:.3f} s, ours {seconds:.3f} s: {theirs['seconds'] / seconds:.0f} times "
          "as fast")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

"""Commands one after another, as one."""

from .case import NODE, STEP, command

G = "flow"
CLEAN = {"step": STEP, "node": NODE, "ports": []}
SYNC: dict[str, dict] = {"standby.sync": {}}


def flow(name, value):
    return command(G, name, "flow.start_flow", {"flow": value})


def cases():
    yield flow("two commands", [SYNC, {"standby.get_partition_uuids": {}}])
    yield flow("a background command", [{"clean.execute_clean_step": CLEAN}, SYNC])
    yield flow("no command", [])
    yield flow("an unknown extension", [SYNC, {"nope.x": {}}])
    yield flow("an unknown command", [SYNC, {"standby.x": {}}])
    yield flow("a name without a dot", [SYNC, {"sync": {}}])
    yield flow("a command that fails", [{"clean.execute_clean_step": CLEAN | {"step": {}}}, SYNC])
    yield flow("wrong parameters", [SYNC, {"standby.prepare_image": {"image_info": {"id": "x"}}}])
    yield flow("another version", [
        {"clean.execute_clean_step": CLEAN | {"clean_version": {"other": "1"}}}, SYNC])
    yield flow("two commands in one object", [SYNC | {"standby.get_partition_uuids": {}}])
    yield flow("null", None)
    yield flow("a text", "standby.sync")
    yield flow("a list of texts", ["standby.sync"])
    yield flow("null for parameters", [{"standby.sync": None}])

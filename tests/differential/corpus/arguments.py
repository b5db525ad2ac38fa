"""Arguments that a command does not take, or takes otherwise."""

from .case import COMMANDS, NODE, STEP, command, one

G = "arguments"


def cases():
    boot = "image.install_bootloader"
    yield command(G, "background: unexpected argument", boot, {"root_uuid": "x", "nonsense": 1})
    yield command(G, "background: missing argument", boot, {})
    yield command(G, "background: wrong type", boot, {"root_uuid": 5})
    step = "clean.execute_clean_step"
    run = {"step": STEP, "node": NODE, "ports": []}
    yield command(G, "step: no node", step, {"step": STEP, "ports": []})
    yield command(G, "step: no ports", step, {"step": STEP, "node": NODE})
    yield command(G, "step: nothing", step, {})
    yield command(G, "step: unexpected in args", step,
                  run | {"step": STEP | {"args": {"nonsense": 1}}})
    yield command(G, "step: an extra parameter", step, run | {"nonsense": 1})
    yield command(G, "step: null", step, run | {"step": None})
    yield command(G, "step: a text", step, run | {"step": "erase_devices_metadata"})
    yield command(G, "image: unexpected argument", "standby.prepare_image",
                  {"image_info": {"id": "i"}, "nonsense": 1})
    yield command(G, "image: none", "standby.prepare_image", {})
    yield command(G, "image: null", "standby.prepare_image", {"image_info": None})
    yield command(G, "immediate: missing key", "clean.get_clean_steps", {"node": {}, "ports": []})
    yield command(G, "immediate: unexpected argument", "standby.sync", {"nonsense": 1})
    yield command(G, "immediate: missing argument", "clean.get_clean_steps", {})
    yield one(G, "the list after a bad argument", "GET", COMMANDS)

"""A long random walk: good and bad commands mixed, the list read in between."""

import random

from .case import COMMANDS, NODE, STEP, command, one

G = "sequence"
RUN = {"step": STEP, "node": NODE, "ports": []}
POOL: tuple[tuple[str, dict], ...] = (
    ("standby.get_partition_uuids", {}),
    ("standby.sync", {}),
    ("clean.get_clean_steps", {"node": NODE, "ports": []}),
    ("deploy.get_deploy_steps", {"node": NODE, "ports": []}),
    ("clean.execute_clean_step", RUN),
    ("clean.execute_clean_step", RUN | {"clean_version": {"other": "1"}}),
    ("deploy.execute_deploy_step", RUN | {"deploy_version": {"other": "1"}}),
    ("deploy.execute_deploy_step", RUN | {"step": {"step": "missing"}}),
    ("service.execute_service_step", RUN | {"step": {}}),
    ("standby.prepare_image", {"image_info": {"id": "x"}}),
    ("nope.x", {}),
    ("standby.x", {}),
    ("x", {}),
)


def cases():
    rng = random.Random(5)
    for number in range(90):
        choice = rng.randrange(10)
        if choice < 7:
            verb, params = rng.choice(POOL)
            yield command(G, f"#{number} {verb}", verb, params)
        elif choice == 7:
            yield one(G, f"#{number} list", "GET", COMMANDS)
        elif choice == 8:
            yield one(G, f"#{number} last", "GET", "/v1/commands/{LAST}?agent_token={TOK}")
        else:
            yield one(G, f"#{number} refused", "POST", "/v1/commands/?agent_token=x", "{")
    yield one(G, "the whole list", "GET", COMMANDS)

"""Everything that has to run, started and stopped together."""

import json
import shutil
from pathlib import Path

from . import disks, machines, places, setup
from .console import Console
from .ironic import Ironic
from .process import Service, wait_for
from .webserver import WebServer


class Laboratory:
    """Ironic, the BMC with its machines, and the web server."""

    def __init__(self, view, images, names):
        """`images` by name; `names` of the machines that are needed."""
        self.view, self.images = view, images
        self.machines = {name: machine for name, machine in machines.rack().items() if name in names}
        # What scenarios leave to the next one of the same machine: nodes, and names of deployed images.
        self.consoles, self.nodes, self.deployed = {}, {}, {}
        # Bytes per second of files that the web server sends slowly.
        self.rates = {}
        self.ironic = self.bmc = self.web = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        shutil.rmtree(places.RUN, ignore_errors=True)
        for directory in ("http", "state"):
            (places.RUN / directory).mkdir(parents=True)
        for machine in self.machines.values():
            machine.directory.mkdir(parents=True)
            for disk in machine.disks:
                disks.make(disk.path, disk.size)
            self.consoles[machine.name] = Console(machine.console_log, self.view.track(machine.name).event)
        for image in self.images.values():
            self.publish(Path(image.path))
        self.web = WebServer(places.RUN / "http", places.IMAGES_PORT, self.rates)
        self.bmc = bmc = self.start_bmc()
        self.ironic = Ironic(self.view.line)
        self.ironic.start()
        self.await_bmc(bmc)

    def publish(self, path, name=None):
        """Makes a file available to conductor and guest; its URL."""
        name = name or path.name
        (places.RUN / "http" / name).symlink_to(path)
        return f"{places.IMAGES_URL}/{name}"

    def publish_slowly(self, image, seconds):
        """An image under another URL, from where it takes that long."""
        path = Path(image.path)
        name = f"slow-{path.name}"
        self.rates[name] = path.stat().st_size / seconds
        return self.publish(path, name)

    def start_bmc(self):
        """Begins to start it: it takes its time while Ironic takes its own."""
        settings = {
            "port": places.BMC_PORT,
            "firmware": str(setup.firmware()),
            "http_root": str(places.RUN / "http"),
            "machines": [machine.settings() for machine in self.machines.values()],
        }
        configuration = places.RUN / "bmc.json"
        configuration.write_text(json.dumps(settings, indent=1))
        service = Service("the BMC", places.RUN / "bmc.log")
        service.start([str(places.VENV / "bin/python"), str(Path(__file__).parent / "bmc.py"), str(configuration)])
        return service

    @staticmethod
    def await_bmc(service):
        def is_up():
            service.check()
            return "Running on" in service.log.read_text()

        wait_for("the BMC", is_up, 120, service.log)

    def stop(self):
        """Ends everything in the reverse order; safe at any time."""
        for part in (self.ironic, self.bmc, *self.consoles.values(), self.web):
            if part is not None:
                part.stop()
        self.ironic = self.bmc = self.web = None
        self.consoles = {}

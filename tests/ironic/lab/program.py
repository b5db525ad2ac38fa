"""What `run` and `demo` have in common: preparation outside the namespaces, work inside, and
an end that leaves nothing behind whatever happens."""

import os
import threading
import time

from . import image, machines, namespace, places, setup
from .errors import Interrupted, LabError
from .laboratory import Laboratory
from .report import Lane, Report
from .view import View


def main(scenarios, live=None, builds=False, figures="figures.json"):
    """Runs the scenarios on one laboratory, after building what is to be shown if it `builds`; the exit status."""
    view = View(live=live, began=namespace.began())
    wanted = {name for scenario in scenarios if not scenario.obstacle() for name in scenario.images}
    try:
        if not namespace.is_inside():
            view.say("preparing: everything that is needed comes into target/, nothing is installed")
            namespace.check()
            for scenario in scenarios:
                if why := scenario.obstacle():
                    view.line(f"will be skipped: {scenario.title}: {why}")
            setup.prepare(view.say, view.status, builds, scenarios, lambda: make_images(view, wanted))
            return namespace.run_inside(view.began)
        namespace.settle([machine.address for machine in machines.rack().values()])
        return work(view, scenarios, image.load(wanted), figures)
    except LabError as error:
        view.failure(error)
        view.line("\n0 passed, 1 failed")
        return 1
    except (Interrupted, KeyboardInterrupt):
        view.line("\nstopped; nothing is left running")
        return 130


def make_images(view, names):
    image.build(lambda text: view.status("images", text), names)
    view.status("images", None)


def work(view, scenarios, images, figures):
    report = Report(view)
    queues: dict[str, list] = {}
    for scenario in scenarios:
        queues.setdefault(scenario.MACHINE, []).append(scenario)
    for name in queues:
        view.track(name)
    view.status("laboratory", "starting Ironic, the BMC and the web server")
    with Laboratory(view, images, queues) as lab:
        view.status("laboratory", None)
        drive(lab, report, queues)
    figures = write_figures(view, places.LAB / figures, machines.rack()[next(iter(queues))])
    view.table()
    for boot in filter(None, figures["power_on_to_seconds"]):
        view.line("power-on to " + ", ".join(f"{name.replace('_', ' ')} {seconds} s" for name, seconds in boot.items()))
    for failure in report.failures:
        view.line(f"FAILED {failure.splitlines()[0]}")
    view.line(f"\nafter {time.monotonic() - view.began:.0f} s:\n{report.closing_line()}")
    # Where everything is installed by the run itself, nothing may be left out.
    is_short = report.skipped and os.environ.get("CI")
    return 1 if report.failed or not report.passed or is_short else 0


def drive(lab, report, queues):
    """All machines at the same time, each through its own scenarios in their order."""
    broken = []

    def go_through(name, scenarios):
        lane = Lane(report, lab.view.track(name))
        try:
            for scenario in scenarios:
                lane.scenario(scenario(lab, lane))
        except BaseException as error:  # raised again by the main thread
            broken.append(error)

    threads = [threading.Thread(target=go_through, args=each, daemon=True) for each in queues.items()]
    for thread in threads:
        thread.start()
    try:
        # The main thread stays where signals can interrupt it.
        while any(thread.is_alive() for thread in threads) and not broken:
            time.sleep(0.2)
        if broken:
            raise broken[0]
    except BaseException:
        # What now fails does so because everything is being stopped.
        report.is_over = True
        raise


def write_figures(view, path, machine):
    """Of the first machine, in whose boots nothing but they themselves is measured."""
    track = view.tracks[machine.name]
    initramfs = (machine.ramdisk / "initramfs").stat().st_size
    return track.figures.write(path, places.RUN / "ironic.log", initramfs_bytes=initramfs)

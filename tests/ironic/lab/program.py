"""What `run` and `demo` have in common: preparation outside the namespaces, work inside, and
an end that leaves nothing behind whatever happens."""

from . import image, namespace, places, setup
from .errors import Interrupted, LabError
from .laboratory import Laboratory
from .report import Report
from .view import View


def main(scenarios, live=None):
    """Runs the scenarios on one laboratory; the exit status."""
    view = View(live=live)
    try:
        if not namespace.is_inside():
            setup.prepare(view.say)
            image.build(view.say)
            return namespace.run_inside()
        namespace.settle()
        return work(view, scenarios)
    except LabError as error:
        view.failure(error)
        view.line("\n0 passed, 1 failed")
        return 1
    except (Interrupted, KeyboardInterrupt):
        view.line("\nstopped; nothing is left running")
        return 130


def work(view, scenarios):
    report = Report(view)
    view.say("starting Ironic, the BMC and the web server")
    with Laboratory(view, image.build(view.say)) as lab:
        for scenario in scenarios:
            report.scenario(scenario(lab, report))
    view.title = None
    figures = view.figures.write(
        places.LAB / "figures.json", places.RUN / "ironic.log", initramfs_bytes=(places.RAMDISK / "initramfs").stat().st_size
    )
    view.table()
    for boot in figures["power_on_to_seconds"]:
        view.line("power-on to " + ", ".join(f"{name.replace('_', ' ')} {seconds} s" for name, seconds in boot.items()))
    view.line(f"\n{report.closing_line()}")
    return 1 if report.failed or not report.passed else 0

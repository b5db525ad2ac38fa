"""The argument lists that the agent gives to programs, tried with the programs.

Unit tests say what a program is called with. Here each of these command lines, as the unit
tests recorded them, is given to the real program of Debian, and to busybox where the ramdisk
has that. A program, a place in the source or a form of command line that nobody has thought of
fails the suite: it is named in `programs.py` with what it must end in, or with the reason why
it is not tried.
"""

import argparse
import os
import pathlib
import re
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "tools"))

import programs  # noqa: E402
import scenarios  # noqa: E402
import sources  # noqa: E402
from world import World  # noqa: E402

TARGET = HERE.parents[1] / "target/arguments"
# Beside those of the programs: what the world itself needs, and scenarios.
PACKAGES = ("busybox-static", "dash", "bash", "coreutils", "util-linux", "python3-minimal", "gdisk")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recorded", type=pathlib.Path, help="a recording, instead of running the unit tests")
    parser.add_argument("--root", type=pathlib.Path, help="unpacked packages, instead of fetching them")
    parser.add_argument("--only", help="only command lines that match this expression")
    parser.add_argument("--verbose", action="store_true", help="what each program said")
    arguments = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    commands, reached = sources.read(arguments.recorded) if arguments.recorded else sources.recorded(TARGET)
    world = World(arguments.root or fetch())
    problems = complete(commands, reached)
    trials = [trial for command in commands for trial in trials_of(command)]
    if arguments.only:
        trials = [trial for trial in trials if re.search(arguments.only, str(trial))]
        problems = []
    # Each in a world of its own; what is said comes in their order.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for trial, found in zip(trials, pool.map(lambda trial: trial.run(world), trials), strict=True):
            if arguments.verbose or found:
                print(f"{'FAILED' if found else 'ok'}  {trial}  [{trial.result}]", flush=True)
            problems += found
    if not arguments.only:
        for scenario in scenarios.ALL:
            found = scenario(world, commands)
            print(f"{'FAILED' if found else 'ok'}  {scenario.__name__}: {(scenario.__doc__ or '').splitlines()[0]}", flush=True)
            problems += [f"{scenario.__name__}: {problem}" for problem in found]
    tried = {trial.command.program for trial in trials}
    print(
        f"arguments: {len(trials)} command lines of {len(tried)} programs from {len(reached)} places tried, "
        f"{len(problems)} problems, {time.monotonic() - started:.0f} s"
    )
    if problems:
        print("\n".join(problems))
        sys.exit(1)


def fetch():
    from debian import Packages

    named = sorted({program.package for program in programs.PROGRAMS if program.package} | set(PACKAGES))
    return Packages().programs("arguments", named) / "root"


def complete(commands, reached):
    """What the suite does not know."""
    problems = []
    for (file, line), text in sources.sites().items():
        if (file, line) not in reached and not any(known in text for known in sources.UNREACHED):
            problems.append(f"{file}:{line}: no unit test sees what is run here: {text}")
    known = {program.name for program in programs.PROGRAMS}
    seen = {command.program for command in commands}
    problems += [f"{name} is started and not named in programs.py" for name in sorted(seen - known)]
    problems += [f"{name} of programs.py is never started" for name in sorted(known - seen)]
    for program in programs.PROGRAMS:
        if bool(program.tries) == bool(program.reason):
            problems.append(f"{program.name}: either it is tried, or there is a reason")
    return problems


def trials_of(command):
    """Each way in which a command line is tried."""
    program = next((known for known in programs.PROGRAMS if known.name == command.program), None)
    if program is None or not program.tries:
        return []
    line = " ".join(command.words())
    rule = next((rule for rule in program.tries if rule.fits(line)), None)
    if rule is None:
        return [Unknown(command)]
    kinds: list[str | None] = [None]
    if program.name in busybox_of_the_ramdisk():
        kinds.append("busybox")
    return [Trial(command, rule, kind) for kind in kinds]


def busybox_of_the_ramdisk():
    """Programs that the ramdisk has from busybox, because `tools.list` names no other."""
    named = {
        pathlib.PurePath(word).name
        for line in (sources.REPOSITORY / "ramdisk/tools.list").read_text().splitlines()
        for word in line.partition("#")[0].split()[1:]
    }
    applets = {"mount", "umount", "sync", "ip", "hwclock", "modprobe", "unshare", "df", "dmesg", "ps"}
    return applets - named


class Unknown:
    """A form of command line without a rule."""

    def __init__(self, command):
        self.command, self.result = command, "not tried"

    def __str__(self):
        return str(self.command)

    def run(self, _world):
        return [f"{self.command}: programs.py does not say what this must end in"]


class Trial:
    def __init__(self, command, rule, kind):
        self.command, self.rule, self.kind, self.result = command, rule, kind, None

    def __str__(self):
        return shlex.join(self.words())

    def words(self):
        words = [self.rule.replace.get(word, word) for word in self.command.words()]
        return [self.kind, *words] if self.kind else words

    def run(self, world):
        beside = getattr(scenarios, self.rule.beside) if self.rule.beside else ""
        self.result = world.run(self.words(), prepare=self.rule.prepare, beside=beside)
        problems: list[str] = []
        if self.rule.older and re.search(self.rule.older, self.result.output):
            return problems
        if misread := programs.USAGE.search(self.result.output):
            problems.append(f"{self}: it does not understand its arguments ({misread[0]!r}): {self.result}")
        elif self.rule.refusal:
            if not re.search(self.rule.refusal, self.result.output):
                problems.append(f"{self}: expected {self.rule.refusal!r}: {self.result}")
        elif self.result.status not in (*self.command.accepted, *self.rule.accepted):
            problems.append(f"{self}: it fails: {self.result}")
        # The mount of busybox passes words that it does not know on to the file system.
        if not problems and self.rule.notices and self.words()[:2] != ["busybox", "mount"]:
            problems = self.notices_nonsense(world)
        return problems

    def notices_nonsense(self, world):
        """What it says is not what it says to anything."""
        words = self.words()
        at = len(words) if len(words) < 2 else 2 if self.kind else 1
        result = world.run([*words[:at], programs.NONSENSE, *words[at:]], prepare=self.rule.prepare)
        if self.rule.refusal:
            is_same = re.search(self.rule.refusal, result.output) and not programs.USAGE.search(result.output)
        else:
            is_same = result.status in (*self.command.accepted, *self.rule.accepted)
        return [f"{self}: it says the same to an option that does not exist: {result}"] if is_same else []


if __name__ == "__main__":
    main()

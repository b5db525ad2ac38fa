"""`ironic-agent network` in the networks of cases.py, each in namespaces of its own, several at once.

    suite.py [CASE...]     these cases; all without any
    suite.py --list
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tools"), str(ROOT / "ramdisk")]

from cases import CASES  # noqa: E402
from debian import TARGET, Packages  # noqa: E402
from world import Failed, World  # noqa: E402

# Most of what they do is waiting.
AT_ONCE = 6
# What of the ramdisk's programs these cases need; the lines of tools.list say which files.
TOOLS = ("busybox-static", "dhcpcd-base")
BY_NAME = {case.__name__: case for case in CASES}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help="names of cases")
    parser.add_argument("--list", action="store_true", help="the names of all cases")
    parser.add_argument("--inside", nargs=3, metavar=("TREE", "DIRECTORY", "PROGRAMS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.case) - set(BY_NAME):
        parser.error(f"there is no case {' or '.join(sorted(unknown))}")
    if arguments.list:
        for case in CASES:
            print(f"{case.__name__:22}{case.__doc__}")
        return 0
    if arguments.inside:
        return inside(BY_NAME[arguments.case[0]], *arguments.inside)
    chosen = [BY_NAME[name] for name in arguments.case] or CASES
    agent = Path(os.environ["AGENT"])
    if not agent.is_file():
        sys.exit(f"network: there is no file {agent}; build it with `cargo build --release`, or set AGENT")
    with tempfile.TemporaryDirectory(prefix="network-", dir=TARGET) as scratch:
        tree, programs = make_tree(Path(scratch) / "tree", agent)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(lambda case: outside(case, tree, Path(scratch), programs), chosen))
    failed = results.count(False)
    print(f"network: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def make_tree(tree, agent):
    """The ramdisk's own programs and files, and the directory of the servers."""
    packages = Packages(say=lambda text: print(f"packages: {text}", file=sys.stderr, flush=True))
    sysroot = packages.sysroot(list(TOOLS))
    files = [word for line in (ROOT / "ramdisk/tools.list").read_text().splitlines()
             for word in line.partition("#")[0].split()[1:] if line.split()[0] in TOOLS]
    for directory in ("bin", "sbin", "usr/bin", "usr/sbin", "etc"):
        (tree / directory).mkdir(parents=True)
    sysroot.install(tree, files)
    for applet in sysroot.busybox_applets():
        if not any((tree / place / applet).exists() for place in ("bin", "sbin", "usr/bin", "usr/sbin")):
            (tree / "bin" / applet).symlink_to("/bin/busybox")
    shutil.copytree(ROOT / "ramdisk/root/etc", tree / "etc", dirs_exist_ok=True)
    shutil.copy(agent, tree / "bin/ironic-agent")
    (tree / "bin/ironic-agent").chmod(0o755)
    return tree, packages.programs("network", ["dnsmasq-base", "radvd", "iproute2"])


def outside(case, tree, scratch, programs):
    """Runs a case in namespaces; whether it passed."""
    directory = scratch / case.__name__
    directory.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child",
               "--mount-proc", sys.executable, "-u", __file__, case.__name__,
               "--inside", str(tree), str(directory), str(programs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        passed, text = done.returncode == 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        passed, text = False, str(error)
    print(f"{'pass' if passed else 'FAIL'}  {case.__name__:22}{text.strip() if passed else case.__doc__}", flush=True)
    if not passed:
        print(text, flush=True)
    return passed


def inside(case, tree, directory, programs):
    os.environ["PATH"] = f"{programs}/bin:{os.environ['PATH']}"
    try:
        seconds = case(World(tree, directory, programs))
    except Failed as failed:
        print(failed)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    print(f"{case.__doc__}" + (f" ({seconds:.2f} s)" if seconds else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())

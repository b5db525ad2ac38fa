"""A machine without hardware in which programs run: namespaces, Debian's files, no devices.

Nothing in it belongs to this machine: `/dev` has files for disks, `/sys` is empty but for what
a program cannot do without, the network has only loopback, and root has no power outside.
"""

import os
import pathlib
import re
import shlex
import subprocess
import tempfile

# Sparse, and in memory. XFS takes no less than 300 MB.
DISK = 320 << 20
TIMEOUT = 180
# Where programs write, and what they expect to find there.
WRITTEN = ("var/log", "var/lib", "var/tmp", "var/cache")
# Directories without anything of the packages.
EMPTY = ("dev", "proc", "sys", "run", "tmp", "mnt")
USERS = ("root:x:0:0::/tmp:/bin/sh", "_chrony:x:0:0::/var/lib/chrony:/bin/false", "nobody:x:65534:65534::/:/bin/false")
GROUPS = ("root:x:0:", "_chrony:x:0:", "nogroup:x:65534:")
NODES = ("null", "zero", "full", "random", "urandom", "tty")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# Its own first process, so that all of it ends with it.
UNSHARE = ("--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child")


class Result:
    def __init__(self, status, output, files):
        self.status, self.output, self.files = status, output, files

    def __str__(self):
        text = self.output.strip()
        return f"status {self.status}: {text[-600:] if text else '(it said nothing)'}"


class World:
    def __init__(self, root):
        self.root = root
        for directory in (*EMPTY, *WRITTEN):
            (root / directory).mkdir(parents=True, exist_ok=True)
        trial = subprocess.run(["unshare", *UNSHARE, "true"], capture_output=True, text=True)
        if trial.returncode != 0:
            raise SystemExit(
                f"arguments: no namespaces of our own: {trial.stderr.strip()}; allow unprivileged user "
                "namespaces (sysctl kernel.unprivileged_userns_clone=1, and with AppArmor "
                "kernel.apparmor_restrict_unprivileged_userns=0)"
            )

    def run(self, words, prepare="", beside="", behind="", environment=None):
        """Runs a program. `prepare`, `beside` and `behind` are shell, before it, at the same time
        and after it; files that they leave in $PLACE are in the result."""
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in (environment or {}).items())
        script = "\n".join([
            "set -e",
            # One of the tests' programs: a minimal system does not have it.
            f"{shlex.quote(os.environ['TEST_PROGRAMS'])}/ip link set lo up",
            f"tree={shlex.quote(str(self.root))} root=$PLACE/root path={PATH}",
            # A root that can be written, and is a mount point, which some programs want: what the packages have is
            # seen through it, and belongs to the user that unpacked it.
            "mkdir $root; mount -t tmpfs none $root; cd $root",
            'for entry in "$tree"/*; do'
            ' name=${entry##*/}; if [ -L "$entry" ]; then cp -d "$entry" .; elif [ -d "$entry" ]; then mkdir $name;'
            f' case $name in {"|".join(EMPTY)}|etc) ;; *) mount --bind "$entry" $name ;; esac; fi; done',
            f"for place in {' '.join((*EMPTY, *WRITTEN))}; do mount -t tmpfs none $root/$place; done",
            'cp -dR --preserve=mode "$tree/etc" .',
            *(f"echo {shlex.quote(line)} >> $root/etc/passwd" for line in USERS),
            *(f"echo {shlex.quote(line)} >> $root/etc/group" for line in GROUPS),
            "mount -t proc proc $root/proc",
            *(f": > $root/dev/{node}; mount --bind /dev/{node} $root/dev/{node}" for node in NODES),
            "mkdir -p $root/sys/devices/system/cpu/cpu0/topology $root/sys/fs/cgroup $root/sys/dev/block $root/dev/shm $root/var/lib/containers",
            "echo 0 | tee $root/sys/devices/system/cpu/online $root/sys/devices/system/cpu/present > /dev/null",
            *(self.fixture(word) for word in words[1:]),
            prepare,
            "set +e",
            beside,
            f"env -i PATH={PATH} LC_ALL=C HOME=/tmp {given} chroot $root {shlex.join(words)} < /dev/null 2>&1",
            "status=$?",
            behind,
            "exit $status",
        ])
        with tempfile.TemporaryDirectory() as place:
            try:
                done = subprocess.run(
                    ["unshare", *UNSHARE, "/bin/bash", "-c", script],
                    capture_output=True, text=True, errors="replace", timeout=TIMEOUT,
                    env={**os.environ, "PLACE": place, "PATH": f"{PATH}:{os.environ.get('PATH', '')}"},
                )
            except subprocess.TimeoutExpired as late:
                said = (late.stdout or b"").decode(errors="replace")
                return Result(None, f"not done after {TIMEOUT} s: {said}", {})
            files = {path.name: path.read_bytes() for path in pathlib.Path(place).iterdir() if path.is_file()}
        return Result(done.returncode, done.stdout + done.stderr, files)

    def fixture(self, word):
        """What an argument names is there: disks are files, everything else is a directory."""
        words = []
        for path in re.findall(r"/(?:dev|tmp|run|sys|mnt)/[\w./:<>-]*", word):
            quoted = "$root" + shlex.quote(path)
            is_file = re.fullmatch(r"/dev/[\w.]+|/tmp/place/(sd|nvme|vd)\w+|/tmp/place|.*\.(bin|json|id)|.*-id", path)
            if path in (f"/dev/{node}" for node in NODES):
                continue
            if path.startswith("/tmp/") and not path.startswith("/tmp/place"):
                # A file that the program makes.
                continue
            if path.endswith(".json"):
                words.append(f"mkdir -p $(dirname {quoted}); echo '{{}}' > {quoted}")
            elif is_file:
                words.append(f"mkdir -p $(dirname {quoted}); test -e {quoted} || truncate -s {DISK} {quoted}")
            else:
                words.append(f"mkdir -p {quoted}")
        return "; ".join(words)

"""Debian packages below `target/`: downloaded and unpacked, never installed.

The host is asked for its apt sources and how it reaches them, and for nothing that it has: the package lists,
the cache and the (empty) status file are the project's own, so the candidates come from the archive alone.
Needs Python's standard library, `apt-get` and `dpkg-deb`, and no root.

  apt.py         the apt state of the project's own: lists, candidates, downloads
  packages.py    unpacked trees: of a kernel, of programs with their libraries
  sysroot.py     an unpacked tree whose programs run with their own libraries
  programs.py    a directory of executables that start the programs of such a tree
"""

from .apt import Download, Problem
from .lock import Lock
from .packages import TARGET, Kernel, Packages
from .sysroot import ARCHITECTURES, TRIPLES, Sysroot

__all__ = ["ARCHITECTURES", "TARGET", "TRIPLES", "Download", "Kernel", "Lock", "Packages", "Problem", "Sysroot"]

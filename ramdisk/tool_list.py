"""The file tools.list, and the tools that the builder itself runs."""

from debian import Problem

# Of this machine's architecture, for the ramdisk of another one: busybox lists its applets only when it runs.
OWN_TOOLS = ["kmod", "busybox-static"]


def read_tools(path):
    """The packages of tools.list, and the files to take from each."""
    packages, files = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or not all(word.startswith("/") for word in words[1:]):
            raise Problem(f"{path}:{number}: expected `package /file ...`, found {line!r}")
        packages.append(words[0])
        files.extend(words[1:])
    return packages, files

"""Chromium without a window, driven by its remote debugging protocol over two pipes: no port, no other library."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from debian import Packages  # noqa: E402
from debian.sysroot import Sysroot  # noqa: E402

PACKAGES = ["chromium-headless-shell", "fonts-dejavu-core"]
PROGRAM = "usr/lib/chromium/chromium-headless-shell"
# The sandbox needs privileges that a test may not have; the only page that is opened is ours.
FLAGS = ["--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
TIMEOUT = 60  # seconds


class BrowserError(Exception):
    """The browser does not do what it is asked."""


class Browser:
    """A running browser with one page. `directory` holds what it needs and keeps."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.number = 0
        self.events: list[dict] = []
        self.unread = b""
        self.session: str | None = None
        root = Packages(say=lambda text: print(f"packages: {text}", file=sys.stderr, flush=True)).programs("page", PACKAGES) / "root"
        starter, environment = self.prepare(root)
        # Beyond the two numbers that the browser expects.
        to_browser, commands = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 16) for end in os.pipe())
        answers, from_browser = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 16) for end in os.pipe())

        def give_pipes() -> None:
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        profile = directory / "profile"
        shutil.rmtree(profile, ignore_errors=True)
        self.log = (directory / "browser.log").open("w")
        self.process = subprocess.Popen(
            [starter, *FLAGS, f"--browser-subprocess-path={starter}", f"--user-data-dir={profile}", "about:blank"],
            env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=give_pipes, pass_fds=(3, 4),
            start_new_session=True)
        os.close(to_browser)
        os.close(from_browser)
        self.commands, self.answers = commands, answers
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility", "Network"):
            self.call(f"{domain}.enable")

    def prepare(self, root: Path) -> tuple[str, dict[str, str]]:
        """A directory in which the browser finds its files beside the loader, which is what its process is called."""
        sysroot = Sysroot(root)
        program = root / PROGRAM
        place = self.directory / "chromium"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for file in program.parent.iterdir():
            (place / file.name).symlink_to(file)
        loader = place / "loader"
        shutil.copy(sysroot.loader, loader)
        loader.chmod(0o755)
        starter = place / "start"
        starter.write_text(f'#!/bin/sh\nexec "{loader}" --library-path "{place}:{sysroot.search}" "{place / program.name}" "$@"\n')
        starter.chmod(0o755)
        fonts = self.directory / "fonts.conf"
        fonts.write_text(f'<?xml version="1.0"?><fontconfig><dir>{root}/usr/share/fonts</dir>'
                         f"<cachedir>{self.directory}/fonts</cachedir></fontconfig>")
        return str(starter), {"FONTCONFIG_FILE": str(fonts), "HOME": str(self.directory), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
                              "TZ": "UTC", "XDG_CONFIG_HOME": str(self.directory / "config")}

    def close(self) -> None:
        """Ends it with all that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def call(self, method: str, **parameters) -> dict:
        """Calls a method of the protocol and waits for its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        number, deadline = self.number, time.monotonic() + TIMEOUT
        while True:
            answer = self.read(deadline)
            if answer is None:
                raise BrowserError(f"no answer to {method}; see {self.directory}/browser.log")
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]

    def read(self, deadline: float) -> dict | None:
        """The next message; nothing when the time is over. Events are kept."""
        while b"\0" not in self.unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                return None
            chunk = os.read(self.answers, 1 << 20)
            if not chunk:
                raise BrowserError(f"the browser has ended; see {self.directory}/browser.log")
            self.unread += chunk
        text, _, self.unread = self.unread.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def run(self, expression: str):
        """The value of an expression in the page, which may be a promise."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise BrowserError(f"{expression}: {json.dumps(result['exceptionDetails'])[:500]}")
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 30.0) -> bool:
        """Waits until an expression is true. Elements are true, and have no value that could be answered."""
        deadline = time.monotonic() + seconds
        while not self.run(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"never true: {expression}")
            time.sleep(0.05)
        return True

    def screen(self, width: int, height: int, dark: bool = False, scale: float = 1.0, phone: bool = False, calm: bool = False) -> None:
        """The size and the wishes of the person who looks."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"}])

    def key(self, key: str) -> None:
        """Presses and releases a key."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "End": 35, "Home": 36, "PageDown": 34}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **(text if kind == "keyDown" else {}))

    def picture(self, path: Path) -> None:
        """A screenshot as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

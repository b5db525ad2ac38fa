"""Processes that are started and stopped by number, and waiting with a deadline."""

import os
import signal
import subprocess
import time

from .errors import LabError


class Service:
    """A process in the background with its output in a file."""

    def __init__(self, name, log):
        self.name, self.log, self.process = name, log, None

    def start(self, argv, environment=None):
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                # Ctrl-C is for us; we then stop the others in order.
                start_new_session=True,
            )

    def check(self):
        """Raises if the process has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise LabError(f"{self.name} ended with status {self.process.returncode}", self.log)

    def kill(self):
        """Ends it without notice, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout=10):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for(what, probe, seconds, *logs, pause=0.2):
    """The first true answer of `probe`; an error that says what it waited for after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds} s", *logs)
        time.sleep(pause)


def run(argv, **options):
    """Runs a program that has to succeed; its standard output."""
    options = {"stdout": subprocess.PIPE, **options}
    done = subprocess.run([str(word) for word in argv], stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise LabError(f"`{' '.join(map(str, argv))}` failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout

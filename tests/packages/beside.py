"""Commands side by side: what is seen of them, and what is left when one fails."""

import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "tools/beside"
SECONDS = 60


class Beside(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.place = Path(scratch.name)
        # What one command waits for until the other one has written to it.
        self.word = self.place / "word"
        os.mkfifo(self.word)
        # Goes on for long, with a process of its own.
        self.endless = f"sleep 1000 & echo $! >'{self.place}/pid'; echo go >'{self.word}'; wait"

    def start(self, *lines: str) -> subprocess.Popen:
        beside = subprocess.Popen([BESIDE, *lines], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(beside.stdout.close if beside.stdout else lambda: None)
        return beside

    def assert_nothing_goes_on(self):
        """The process that `endless` has started is gone, or only waits for its parent."""
        stat = Path("/proc", (self.place / "pid").read_text().strip(), "stat")
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                if stat.read_text().rpartition(")")[2].split()[0] in "ZX":
                    return
            except (FileNotFoundError, ProcessLookupError):
                return
            time.sleep(0.02)
        self.fail("a process was left")

    def test_both_run_at_the_same_time_and_their_outputs_are_not_mixed(self):
        first, second = f"echo one; read -r _ <'{self.word}'; echo two", f"echo three; echo go >'{self.word}'; echo four >&2"
        beside = self.start(first, second)
        said, _ = beside.communicate(timeout=SECONDS)
        self.assertRegex(said, r"\Aone\ntwo\nthree\nfour\n.*: passed after \d+ s\n.*: passed after \d+ s\n\Z")
        self.assertEqual(beside.returncode, 0)

    def test_what_fails_ends_the_other_and_is_what_is_said_last(self):
        for lines in ((self.endless, f"read -r _ <'{self.word}'; echo why; exit 3"), (f"read -r _ <'{self.word}'; echo why; exit 3", self.endless)):
            beside = self.start(*lines)
            said, _ = beside.communicate(timeout=SECONDS)
            self.assertEqual(beside.returncode, 1, said)
            why, *results = said.splitlines()
            self.assertEqual(why, "why")
            self.assertEqual([result.rpartition(": ")[2].partition(" after")[0] for result in results],
                             ["was ended" if line == self.endless else "FAILED with status 3" for line in lines])
            self.assert_nothing_goes_on()

    def test_a_signal_ends_all(self):
        beside = self.start("sleep 1000", self.endless)
        self.word.read_text()
        beside.send_signal(signal.SIGTERM)
        said, _ = beside.communicate(timeout=SECONDS)
        self.assertEqual((beside.returncode, said.count("was ended")), (143, 2), said)
        self.assert_nothing_goes_on()


if __name__ == "__main__":
    unittest.main()

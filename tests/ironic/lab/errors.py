"""What can go wrong, with the evidence that explains it."""


class LabError(Exception):
    """Something failed; `logs` are the files whose last lines tell why."""

    def __init__(self, message, *logs):
        super().__init__(message)
        self.logs = logs


class Interrupted(BaseException):
    """Somebody wants everything to end, now."""


def last_lines(path, count=15):
    """The end of a log file that may be long, as text."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 64 * 1024))
            lines = file.read().decode(errors="replace").replace("\r", "").splitlines()
    except OSError as error:
        return [f"({error})"]
    return [line[:300] for line in lines if line.strip()][-count:]

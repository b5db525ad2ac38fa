"""Files that belong together, and are replaced together."""

from pathlib import Path


def put_all(contents: dict[Path, bytes], stamp: Path | None = None) -> None:
    """Writes files so that none is seen half written, and none is new beside one that could not be written: they get their names
    when all are on the disk. `stamp` is the file among them that says that the others are whole: it is away meanwhile."""
    drafts = {path.with_name(path.name + ".new"): path for path in contents}
    try:
        for draft, path in drafts.items():
            draft.write_bytes(contents[path])
        if stamp:
            stamp.unlink(missing_ok=True)
        for draft, path in sorted(drafts.items(), key=lambda each: each[1] == stamp):
            draft.replace(path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)

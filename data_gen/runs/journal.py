"""The journal of a run: its configuration, and the result of every finished job, so that a killed run can go on."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from kosplinter_common.cli import InputError
from kosplinter_common.files import JSON_ERRORS

JOURNAL_FILE = "journal.jsonl"


class Journal:
    """A file of JSON lines, the configuration first, then one line for each finished job.

    The file is locked while it is open, so that two runs never write into one folder.
    """

    def __init__(self, folder: Path, configuration: dict[str, Any]):
        """Begins the journal of `folder`, or goes on with the one that is there.

        Raises:
          InputError: the folder was begun with another configuration (the flag is named), another run is at work
            in it, or it holds files that no journal accounts for.
        """
        self._path = folder / JOURNAL_FILE
        self.results: dict[str, dict[str, Any]] = {}
        is_new = not self._path.exists()
        if is_new and folder.exists() and any(folder.iterdir()):
            found = min(path.name for path in folder.iterdir())
            raise InputError(f"{folder}: found {found!r} but no {JOURNAL_FILE}, expected an empty or a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "a+b")  # noqa: SIM115 - it stays open, and locked, as long as the run
        try:
            # lockf, not flock: worker processes that outlive a killed run must not hold its lock
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{folder}: another run is writing into this folder") from error
        lines = self._complete_lines()
        if lines:
            self._compare(lines[0], configuration)
            for line in lines[1:]:
                self.results[line["job"]] = line["result"]
                if line["result"] is None:
                    del self.results[line["job"]]
        else:
            self._append(configuration)

    def _complete_lines(self) -> list[dict[str, Any]]:
        """The lines that were written whole; a last one that was not is cut off."""
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise InputError(f"{self._path}: broken JSON: {error}") from error

    def _compare(self, begun_with: dict[str, Any], configuration: dict[str, Any]) -> None:
        for flag in sorted(begun_with.keys() | configuration.keys()):
            before, now = begun_with.get(flag), configuration.get(flag)
            if before != now:
                raise InputError(
                    f"--{flag}: {self._path.parent} was begun with {before!r}, found {now!r}; "
                    "expected the same, or another --output_dir"
                )

    def _append(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False, sort_keys=True).encode(errors=JSON_ERRORS) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def result(self, job: str) -> dict[str, Any] | None:
        """What a finished job gave, or None."""
        return self.results.get(job)

    def record(self, job: str, result: dict[str, Any]) -> None:
        """Notes that a job is finished, or what came out of it now; its files must be in place."""
        self._append({"job": job, "result": result})
        self.results[job] = result

    def forget(self, job: str) -> None:
        """Notes that a job has to be done again."""
        self._append({"job": job, "result": None})
        del self.results[job]

    def close(self) -> None:
        """Closes the file, which ends the lock."""
        self._file.close()

    def discard(self) -> None:
        """Removes the journal, and the folder if nothing else is in it."""
        self._path.unlink()
        self._file.close()
        if not any(self._path.parent.iterdir()):
            self._path.parent.rmdir()

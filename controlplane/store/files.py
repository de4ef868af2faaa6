"""The files of a SQLite store, and how all of them are replaced at once by those of a backup.

Theory of operation. A store is two databases with their write-ahead logs, and no file system replaces four files in one
step. So a restore prepares the new ones in a folder beside them (`…restoring`) and then renames that folder
(`…restored`): this one step decides. Whoever takes the store's lock next finds such a folder and finishes what it asks
for, which may be done any number of times; a folder that was never renamed is waste of a restore that did not get
there. So after a crash at any point the store is the old one or the new one.

Not here: what is in the files (`backup.py`, `restore.py`).
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """Where things lie, by the path of the main database."""

    main: Path

    @classmethod
    def of_url(cls, url: str) -> StoreFiles:
        """From `sqlite:///PATH`."""
        return cls(Path(url.removeprefix("sqlite:///")))

    @property
    def logs(self) -> Path:
        """The database of logs, which has a writer of its own."""
        return self.main.with_name(self.main.stem + "-logs" + self.main.suffix)

    @property
    def lock(self) -> Path:
        """Held by whoever may write."""
        return self._beside("lock")

    @property
    def restoring(self) -> Path:
        """New files that do not count yet."""
        return self._beside("restoring")

    @property
    def restored(self) -> Path:
        """New files that count, and are to be moved to where they belong."""
        return self._beside("restored")

    def exist(self) -> bool:
        """Whether there is anything to lose."""
        return self.main.exists() or self.logs.exists() or self.restored.exists()

    def settle(self) -> None:
        """Finish, or clear away, what a restore left that was ended in its middle. The caller holds the lock."""
        if self.restored.exists():
            # The logs first: where the main database is the new one, so are the logs.
            for live in (self.logs, self.main):
                _move_in(self.restored / live.name, live)
            sync_folder(self.main.parent)
            shutil.rmtree(self.restored)
        if self.restoring.exists():
            shutil.rmtree(self.restoring)

    def commit(self) -> None:
        """From here on the files in `restoring` are the store."""
        sync_folder(self.restoring)
        self.restoring.rename(self.restored)
        sync_folder(self.main.parent)

    def _beside(self, what: str) -> Path:
        return self.main.with_name(f"{self.main.name}.{what}")


def _move_in(new: Path, live: Path) -> None:
    if not new.exists():
        return  # moved already, before the crash
    for kind in ("-wal", "-shm"):  # SQLite would read an old log into a new file
        with suppress(FileNotFoundError):
            os.unlink(f"{live}{kind}")
    sync_folder(live.parent)
    os.replace(new, live)


def sync_file(path: Path) -> None:
    """Make what was written to a file survive a power cut."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Artifacts on this agent: taken from the folder that a program filled, kept on disk until the control plane has them.

What a program leaves is not trusted: links are not followed, what is no plain file is left out, and so is what its name
or its size forbids; the run's log says so. Files are moved, not copied, where the disk allows it. Knows nothing of how
they travel: `agent.outputs` brings them before the result that names them.

    <folder>/<placement>/<digest>       one file for equal bytes, however many names they have
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pawl.artifacts import DEFAULT_FILES, DEFAULT_TOTAL, MAX_FILE, MAX_FILES, MAX_TOTAL, content_type_of, name_problem

PIECE_BYTES: Final = 1 << 20
COMPLAINTS: Final = 20
"""So many are told one by one, the others counted."""
ENTRIES_LOOKED_AT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Rules:
    """How many files a run may leave, bytes of one and of all."""

    max_files: int = DEFAULT_FILES
    max_file_bytes: int = MAX_FILE
    max_total_bytes: int = DEFAULT_TOTAL

    def bounded(self) -> Rules:
        """No more than the control plane takes."""
        return Rules(
            min(self.max_files, MAX_FILES), min(self.max_file_bytes, MAX_FILE), min(self.max_total_bytes, MAX_TOTAL)
        )


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that is kept."""

    name: str
    size: int
    digest: str
    content_type: str


@dataclass(slots=True)
class Taken:
    """What was taken of a run, and what was left out with the reason."""

    artifacts: list[Artifact] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    left_out: int = 0

    def leave_out(self, name: str, why: str) -> None:
        """Count one, and say it if there are not too many."""
        self.left_out += 1
        if self.left_out <= COMPLAINTS:
            self.complaints.append(f"artifact {name!a} is left out: {why}")

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(one.size for one in self.artifacts)


class ArtifactFolder:
    """The files of all runs of this agent that the control plane has not acknowledged. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[str, int] = {}

    @property
    def waiting_bytes(self) -> int:
        """What lies on disk until its result is acknowledged."""
        return sum(self._sizes.values())

    def open(self, names: Iterable[str]) -> None:
        """Find what an earlier start left; what belongs to none of these placements is removed. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = set(names)
        for path in self._folder.iterdir():
            if path.name in known:
                self._sizes[path.name] = sum(one.stat().st_size for one in path.iterdir())
            else:
                shutil.rmtree(path, ignore_errors=True)

    def take(self, placement: str, source: str, rules: Rules) -> Taken:
        """All files below `source`, on disk when this returns. A file that cannot be had is left out."""
        rules, taken = rules.bounded(), Taken()
        into = self._folder / placement
        for folder_fd, file, name in _walk(source, taken):
            if (problem := name_problem(name)) is not None:
                taken.leave_out(name, f"its name {problem}")
            elif len(taken.artifacts) >= rules.max_files:
                taken.leave_out(name, f"there are {rules.max_files:,} already, which is how many there may be")
            else:
                self._take_one(into, folder_fd, file, name, rules, taken)
        if taken.left_out > COMPLAINTS:
            taken.complaints.append(f"{taken.left_out - COMPLAINTS:,} more artifacts are left out")
        if taken.artifacts:
            _sync_folder(into)
            _sync_folder(self._folder)
            self._sizes[placement] = taken.size
        return taken

    def _take_one(self, into: Path, folder_fd: int, file: str, name: str, rules: Rules, taken: Taken) -> None:
        room = min(rules.max_file_bytes, rules.max_total_bytes - taken.size)
        try:
            found = os.stat(file, dir_fd=folder_fd, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                taken.leave_out(name, "it is no plain file")
                return
            if found.st_size > room:
                limit = "one" if rules.max_file_bytes <= room else "all together"
                taken.leave_out(name, f"it has {found.st_size:,} bytes, and {limit} may have {_limit(rules, limit):,}")
                return
            into.mkdir(mode=0o700, exist_ok=True)
            size, digest = _bring_in(folder_fd, file, into, room)
        except OSError as error:
            taken.leave_out(name, str(error.strerror or error))
            return
        taken.artifacts.append(Artifact(name, size, digest, content_type_of(name)))

    def read(self, placement: str, digest: str, offset: int) -> bytes:
        """A piece of a file. Raises OSError."""
        with (self._folder / placement / digest).open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)

    def holds(self, placements: Iterable[str]) -> bool:
        """Whether there are files of any of these."""
        return not self._sizes.keys().isdisjoint(placements)

    def remove(self, placements: Iterable[str]) -> None:
        """Forget the files of placements that are acknowledged; unknown ones are ignored."""
        for placement in placements:
            if self._sizes.pop(placement, None) is not None:
                shutil.rmtree(self._folder / placement, ignore_errors=True)


def _limit(rules: Rules, which: str) -> int:
    return rules.max_file_bytes if which == "one" else rules.max_total_bytes


def _walk(source: str, taken: Taken) -> Iterator[tuple[int, str, str]]:
    """Every entry that is no folder: an open folder, its name there, and its path below the source; in order."""
    if not _is_folder(source):
        return  # it had to be there, so the program made something else of it
    looked_at = 0

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            taken.leave_out(os.path.relpath(os.fsdecode(error.filename or "."), source), str(error.strerror))

    for path, folders, files, folder_fd in os.fwalk(source, onerror=unreadable):
        folders.sort()
        links = [one for one in folders if _is_link(one, folder_fd)]
        below = os.path.relpath(path, source)
        for file in sorted((*files, *links)):
            looked_at += 1
            if looked_at > ENTRIES_LOOKED_AT:
                taken.leave_out(".", f"there are more than {ENTRIES_LOOKED_AT:,} files, and the rest is not looked at")
                return
            yield folder_fd, file, file if below == "." else f"{below}/{file}"
        if below.count("/") >= 50:
            folders.clear()


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_link(name: str, folder_fd: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _bring_in(folder_fd: int, file: str, into: Path, room: int) -> tuple[int, str]:
    """Move a file here under its digest; its size and the digest. Raises OSError, also when it has grown too large."""
    staged = into / ".new"
    try:
        os.rename(file, staged, src_dir_fd=folder_fd)
    except OSError:
        _copy(folder_fd, file, staged, room)
    try:
        size, digest = _fingerprint(staged, room)
        staged.replace(into / digest)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise
    return size, digest


def _copy(folder_fd: int, file: str, staged: Path, room: int) -> None:
    """To another disk."""
    source = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    with open(source, "rb") as given, staged.open("wb") as kept:
        left = room + 1
        while left > 0 and (data := given.read(min(left, PIECE_BYTES))):
            kept.write(data)
            left -= len(data)


def _fingerprint(staged: Path, room: int) -> tuple[int, str]:
    """What the file really is now that nobody else can reach it; on disk when this returns."""
    try:
        fd = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:  # its owner may write only, or nothing at all; and we are its owner
        os.chmod(staged, 0o600)
        fd = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("it is no plain file")
        found, size = hashlib.sha256(), 0
        while data := file.read(PIECE_BYTES):
            size += len(data)
            if size > room:
                raise OSError("it has grown while it was taken")
            found.update(data)
        os.fsync(fd)
    return size, found.hexdigest()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

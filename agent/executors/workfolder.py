"""A task's own folder: its working folder and home, its parameters, the place for its output.

    <work_dir>/<key>/                   the working folder unless the job names one; HOME and TMPDIR
    <work_dir>/<key>/.pawl-parameters   PAWL_PARAMETERS_FILE, also stdin; both are /dev/null without parameters
    <work_dir>/<key>/.pawl-output       PAWL_OUTPUT_FILE, made by the program or not at all
    <work_dir>/<key>/.pawl-error        PAWL_ERROR_FILE, likewise
    <work_dir>/<key>/.pawl-progress     PAWL_PROGRESS_FILE, likewise
    <work_dir>/<key>/.pawl-artifacts/   PAWL_ARTIFACTS_DIR, made only for jobs that keep artifacts

One folder and at most one file, because making and removing them is what a short task costs the agent most: on a disk
each takes as long as the start of a process.
What a program leaves in it is not trusted: nothing here follows a link that it may have put there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.executors.capture import capped_file
from agent.keeper import TaskUser

_KEY = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,200}")
_PLACEMENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[0-9]+")


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """The folder of one placement."""

    path: str
    parameters: str

    @property
    def output(self) -> str:
        """The file that the program may write."""
        return f"{self.path}/.pawl-output"

    @property
    def error(self) -> str:
        """The file in which the program may say why it fails."""
        return f"{self.path}/.pawl-error"

    @property
    def progress(self) -> str:
        """The file in which the program may say how far it is."""
        return f"{self.path}/.pawl-progress"

    @property
    def artifacts(self) -> str:
        """The folder whose files are kept, if the job keeps any."""
        return f"{self.path}/.pawl-artifacts"

    @classmethod
    def create(
        cls, root: Path, key: str, parameters: bytes, user: TaskUser | None, *, artifacts: bool = False
    ) -> WorkFolder:
        """Make the folder, empty; what an earlier run of the same key left goes first."""
        if not _KEY.fullmatch(key):
            raise OSError(f"{key!r} cannot name a folder")
        path = f"{root}/{key}"
        folder = cls(path, f"{path}/.pawl-parameters" if parameters else os.devnull)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            shutil.rmtree(path, onerror=_open_and_retry)
            os.mkdir(path, 0o700)
        try:
            if parameters:
                folder._write_parameters(parameters, user)
            if artifacts:
                folder._make_artifacts(user)
            if user is not None:
                os.chown(path, user.uid, user.gid)
        except BaseException:
            shutil.rmtree(path, onerror=_open_and_retry)
            raise
        return folder

    def _write_parameters(self, parameters: bytes, user: TaskUser | None) -> None:
        fd = os.open(self.parameters, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with open(fd, "wb", buffering=0) as file:
            left = memoryview(parameters)
            while left:
                left = left[file.write(left) :]
            if user is not None:
                os.fchown(fd, user.uid, user.gid)

    def _make_artifacts(self, user: TaskUser | None) -> None:
        os.mkdir(self.artifacts, 0o700)
        if user is not None:
            os.chown(self.artifacts, user.uid, user.gid)

    def open_output(self) -> int | None:
        """The output file for reading; None when the program made none, or something that is no plain file."""
        return self._open(self.output)

    def read_error(self, most: int) -> bytes:
        """The beginning of what the program says of its failure; empty if it says nothing."""
        fd = self._open(self.error)
        if fd is None:
            return b""
        with open(fd, "rb") as file:
            return file.read(most)

    def _open(self, path: str) -> int | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        found, owner = os.fstat(fd), os.stat(self.path).st_uid
        others = owner != os.geteuid() and found.st_uid != owner  # a link to what its user may not read
        if not stat.S_ISREG(found.st_mode) or others:
            os.close(fd)
            return None
        return fd

    def read_output(self, fd: int, limit: int) -> tuple[bytes, int]:
        """The opened output cut to the limit, and its whole size. Closes it."""
        try:
            return capped_file(fd, limit)
        finally:
            os.close(fd)

    async def remove(self) -> None:
        """Remove it with everything in it; in a thread when the program left something."""
        try:
            if self.parameters != os.devnull:
                os.unlink(self.parameters)
            os.rmdir(self.path)
        except OSError:
            await asyncio.to_thread(shutil.rmtree, self.path, onerror=_open_and_retry)


def remove_leftovers(root: Path) -> None:
    """Remove the folders of placements that an earlier agent did not get to remove."""
    for entry in os.scandir(root):
        if _PLACEMENT.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, onerror=_open_and_retry)


def _open_and_retry(function: Callable[..., object], path: str, _: object) -> None:
    """Programs leave folders without write permission (package caches): give it and try again, once."""
    with contextlib.suppress(OSError):
        for folder in (os.path.dirname(path), path):
            if stat.S_ISDIR(os.lstat(folder).st_mode):
                os.chmod(folder, 0o700)
        if function in (os.unlink, os.rmdir):
            function(path)
        else:
            shutil.rmtree(path, ignore_errors=True)

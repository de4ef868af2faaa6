"""A task's own folder: its working folder and home, its parameters, the place for its output.

    <work_dir>/<key>/                the working folder unless the job names one, and HOME
    <work_dir>/<key>/.pawl/parameters   PAWL_PARAMETERS_FILE, also stdin
    <work_dir>/<key>/.pawl/output       PAWL_OUTPUT_FILE, made by the program or not at all
    <work_dir>/<key>/.pawl/tmp/         TMPDIR

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

    @property
    def parameters(self) -> str:
        """The file with the parameters' bytes."""
        return f"{self.path}/.pawl/parameters"

    @property
    def output(self) -> str:
        """The file that the program may write."""
        return f"{self.path}/.pawl/output"

    @property
    def temporary(self) -> str:
        """The folder for its temporary files."""
        return f"{self.path}/.pawl/tmp"

    @classmethod
    def create(cls, root: Path, key: str, parameters: bytes, user: TaskUser | None) -> WorkFolder:
        """Make the folder, empty; what an earlier run of the same key left goes first."""
        if not _KEY.fullmatch(key):
            raise OSError(f"{key!r} cannot name a folder")
        folder = cls(f"{root}/{key}")
        try:
            os.mkdir(folder.path, 0o700)
        except FileExistsError:
            shutil.rmtree(folder.path, onerror=_open_and_retry)
            os.mkdir(folder.path, 0o700)
        os.mkdir(f"{folder.path}/.pawl", 0o700)
        os.mkdir(folder.temporary, 0o700)
        fd = os.open(folder.parameters, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with open(fd, "wb", buffering=0) as file:
            left = memoryview(parameters)
            while left:
                left = left[file.write(left) :]
        if user is not None:
            for path in (folder.path, f"{folder.path}/.pawl", folder.temporary, folder.parameters):
                os.chown(path, user.uid, user.gid)
        return folder

    def open_output(self) -> int | None:
        """The output file for reading; None when the program made none, or something that is no plain file."""
        try:
            folder_fd = os.open(f"{self.path}/.pawl", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open("output", flags, dir_fd=folder_fd)
        except OSError:
            return None
        finally:
            os.close(folder_fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
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
        """Remove it with everything in it; in a thread when the program left more than we made."""
        try:
            for path in (self.output, self.parameters):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            for path in (self.temporary, f"{self.path}/.pawl", self.path):
                os.rmdir(path)
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

"""Whom programs run as when the agent is root: the setting `agent.task_user`, read against the system's users."""

from __future__ import annotations

import os
import pwd
import re

from agent.keeper import TaskUser

_NUMBERS = re.compile(r"(?P<uid>[0-9]{1,10})(:(?P<gid>[0-9]{1,10}))?")


class TaskUserError(ValueError):
    """No programs can be run as this user; the message says why."""


def task_user(text: str) -> TaskUser | None:
    """`name`, `uid` or `uid:gid`; None when programs run as the agent does. Raises TaskUserError."""
    if not text:
        return None
    user = _known(text)
    own = os.geteuid()
    if user.uid == own:
        return None
    if own != 0:
        raise TaskUserError(f"{text!r}: only an agent that root started may run programs as somebody else")
    return user


def _known(text: str) -> TaskUser:
    numbers = _NUMBERS.fullmatch(text)
    try:
        known = pwd.getpwnam(text) if numbers is None else pwd.getpwuid(int(numbers["uid"]))
    except (KeyError, OverflowError):
        if numbers is None:
            raise TaskUserError(f"{text!r}: this machine has no such user") from None
        if numbers["gid"] is None:
            raise TaskUserError(f"{text!r}: this machine has no such user; give a group too, as uid:gid") from None
        return TaskUser(int(numbers["uid"]), int(numbers["gid"]))
    if numbers is not None and numbers["gid"] is not None:
        return TaskUser(known.pw_uid, int(numbers["gid"]))
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return TaskUser(known.pw_uid, known.pw_gid, tuple(group for group in groups if group != known.pw_gid))

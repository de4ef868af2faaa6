"""The picture of the task's states, drawn from the table in `task.py` into this folder's README.

`python -m tests.domain.draw` draws it anew; a test fails when the committed picture is stale.
"""

from __future__ import annotations

from controlplane.domain import task
from controlplane.domain.task import FINAL, HELD, ON_AGENT, TRANSITIONS, WHEN_CANCEL_REQUESTED, RequestCancel, Status


def diagram() -> str:
    """The state diagram in Mermaid, drawn from the tables: pairs of states with the transitions between them."""
    lines = ["stateDiagram-v2", "    [*] --> PENDING: create"]
    for status, moves in TRANSITIONS.items():
        targets: dict[Status, list[str]] = {}
        for transition, target in moves.items():
            targets.setdefault(target, []).append(transition.__name__)
            cancelled = WHEN_CANCEL_REQUESTED.get(transition)
            if cancelled is not None and RequestCancel in moves:
                targets.setdefault(cancelled, []).append(f"{transition.__name__} when cancel is requested")
        lines += [f"    {status.name} --> {target.name}: {', '.join(names)}" for target, names in targets.items()]
    for source in sorted(ON_AGENT):  # an agent holds it still
        back = [transition.__name__ for transition, target in HELD.items() if target is None]
        lines.append(f"    PAUSED --> {source.name}: {', '.join(back)} of what was {source.name}")
    ends: dict[Status, list[str]] = {}
    for transition, end in HELD.items():
        if end is not None and end is not Status.PAUSED:
            ends.setdefault(end, []).append(transition.__name__)
    lines += [f"    PAUSED --> {end.name}: {', '.join(names)} of what an agent has" for end, names in ends.items()]
    lines += [f"    {status.name} --> [*]" for status in sorted(FINAL)]
    return "\n".join(lines) + "\n"


def who_moves_it_on() -> str:
    """The paragraph of `task.py` on who moves a task on from each status."""
    return "- " + (task.__doc__ or "").partition("\n- ")[2].partition("\n\n")[0] + "\n"


def redraw(page: str) -> str:
    """A page with the present picture and paragraph between its marks."""
    for mark, text in (("diagram", f"```mermaid\n{diagram()}```\n"), ("who", who_moves_it_on())):
        before, opened, rest = page.partition(f"<!-- {mark} -->\n")
        _, closed, after = rest.partition(f"<!-- /{mark} -->")
        if not opened or not closed:
            raise ValueError(f"the page has no place for the {mark}")
        page = before + opened + text + closed + after
    return page

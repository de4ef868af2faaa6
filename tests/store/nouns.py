"""Every noun that can be listed, and rows of it: values drawn per field, so that a new field is covered by existing.

Rows go straight into the tables. What a row needs beside its fields (the CHECKs of its table) stands in `settle`.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from controlplane import engine
from controlplane.domain.filter import Field, Kind, Queryable
from controlplane.domain.ids import id_at
from controlplane.domain.key import Authority
from controlplane.engine.groups import GROUPS
from controlplane.engine.jobs import JOBS
from controlplane.engine.keys import KEYS
from controlplane.engine.namespaces import NAMESPACES
from controlplane.engine.nouns import AGENTS, TASK_INSTANCES, TASKS
from controlplane.engine.plugins import PLUGINS
from controlplane.engine.schedules import FIRES, SCHEDULES
from controlplane.store import agents, groups, instances, jobs, keys, namespaces, plugins, schedules, tables, tasks
from controlplane.store.dialect import Id
from controlplane.store.query import Listing
from tests.engine.stage import NOW

MINE, THEIRS = "default", "other"
PARENT = "01890a5d-ac96-774b-bcce-0000000000ff"  # the schedule whose fires are listed
STRANGER = "01890a5d-ac96-774b-bcce-0000000000fe"
TAGS = ("env", "Team", "a.b")
TAG_VALUES = ("x", "X", "y", "%", "ß")
# Case, wildcards of LIKE, letters that a locale would sort elsewhere, and two whose order differs in UTF-8 and UTF-16.
LETTERS = "aAbB_%\\éß\uffee\U0001f600"
FINAL = (40, 90, 99, 100)

Values = dict[str, Any]


@dataclass(frozen=True)
class Noun:
    """A noun, its table, how its lists are asked for, and what makes a row of drawn values a legal one."""

    asked: Queryable
    table: Table
    listing: Callable[[Connection], Listing]  # as it is asked for
    default_order: tuple[str, ...]
    settle: Callable[[Values], None] = lambda row: None
    unique: tuple[str, ...] = ()
    foreign: Values | None = None  # makes a row one that the list must not show; None: there is none
    called: Mapping[str, str] = field(default_factory=dict)  # columns that are not called like what is asked for

    @cached_property
    def columns(self) -> dict[str, sa.Column[Any]]:
        """Where each field is stored, but the tags."""
        plain = [one for one in self.asked.fields if one.kind is not Kind.TAGS]
        return {one.name: self.table.c[self.called.get(one.stored_as, one.stored_as)] for one in plain}


def _settle_task(row: Values) -> None:
    row["finished_at"] = (row["finished_at"] or NOW) if row["status"] in FINAL else None
    row["wake_at"] = NOW if row["status"] == 35 else None
    row["instance_id"] = PARENT
    row["result_token"] = row["token"] = 1


def _settle_group(row: Values) -> None:
    row["decided_at"] = None if row["status"] == 10 else row["decided_at"] or NOW
    row["succeeded"], row["failed"], row["cancelled"], row["skipped"] = 0, 0, 0, 0
    row["total"] = abs(row["total"]) + 1
    if row["finished_at"] is not None:
        row["succeeded"] = row["total"]


def _settle_instance(row: Values) -> None:
    is_open = row["status"] in (5, 10)
    row["finished_at"] = None if is_open else row["finished_at"] or NOW
    row |= dict.fromkeys(("lease", "timeout", "grace", "paused"), 1 if is_open else None)


def _settle_schedule(row: Values) -> None:
    row["next_fire_at"] = row["next_fire_at"] if row["status"] == 1 else None
    row["deleted_at"] = None


def _settle_fire(row: Values) -> None:
    row["schedule_id"] = PARENT
    row["task_id"], row["reason"] = PARENT, None


def _settle_key(row: Values) -> None:
    row["roles"], row["everywhere"] = 1, True
    row["revoked_by"] = None if row["revoked_at"] is None else "ann"


def _living(row: Values) -> None:
    row["deleted_at"] = None


NOUNS = (
    Noun(JOBS, tables.job, lambda _: jobs.listing(MINE), ("-created_at",), _living, ("name",), {"deleted_at": NOW}),
    Noun(
        TASKS, tables.task, lambda it: tasks.listing(it, MINE), ("-id",), _settle_task, foreign={"namespace_id": THEIRS}
    ),
    Noun(
        GROUPS,
        tables.task_group,
        lambda it: groups.listing(it, MINE),
        ("-id",),
        _settle_group,
        foreign={"namespace_id": THEIRS},
    ),
    Noun(
        TASK_INSTANCES,
        tables.task_instance,
        lambda it: instances.listing(it, MINE),
        ("-id",),
        _settle_instance,
        foreign={"namespace_id": THEIRS},
    ),
    Noun(
        SCHEDULES,
        tables.schedule,
        lambda _: schedules.listing(MINE),
        ("-created_at",),
        _settle_schedule,
        ("name",),
        {"deleted_at": NOW},
    ),
    Noun(
        FIRES,
        tables.fire,
        lambda _: schedules.fires_listing(PARENT),
        ("-fire_time",),
        _settle_fire,
        foreign={"schedule_id": STRANGER},
    ),
    Noun(AGENTS, tables.agent, lambda _: agents.listing(MINE), ("id",), foreign={"namespace_id": THEIRS}),
    Noun(
        PLUGINS,
        tables.plugin,
        lambda _: plugins.listing(MINE),
        ("-created_at",),
        unique=("name", "digest"),
        foreign={"namespace_id": THEIRS},
        called={"version": "plugin_version"},
    ),
    Noun(NAMESPACES, tables.namespace, lambda _: namespaces.listing(), ("id",)),
    Noun(
        KEYS,
        tables.key,
        lambda _: keys.listing(Authority("ann", frozenset({"admin"}), None)),
        ("-created_at",),
        _settle_key,
        ("name", "prefix"),
    ),
)


def known() -> Iterator[Queryable]:
    """Every noun that the engine can be asked for."""
    for module in pkgutil.iter_modules(engine.__path__):
        for value in vars(importlib.import_module(f"{engine.__name__}.{module.name}")).values():
            if isinstance(value, Queryable):
                yield value


class Drawn:
    """Values for the rows of one noun, and for questions about them, always the same ones."""

    def __init__(self, noun: Noun, *, few: int = 6) -> None:
        self.noun = noun
        self.few = few  # values of a field that does not tell rows apart
        self.chance = random.Random(noun.asked.noun)  # rows, not secrets

    def rows(self, count: int) -> list[Values]:
        """So many legal rows of the table, without two that its unique columns would refuse."""
        found: dict[tuple[Any, ...], Values] = {}
        primary = [column.name for column in self.noun.table.primary_key]
        key = [self.noun.columns[name].name for name in self.noun.asked.key]
        number = 0
        while len(found) < count:
            number += 1
            row = {column.name: self._column(column) for column in self.noun.table.columns}
            for name, column in self.noun.columns.items():
                row[column.name] = self.value(self.noun.asked.by_spelling[name])
            for one in self.noun.asked.fields:
                if one.in_id:
                    row["id"] = id_at(row[one.name], self.chance.getrandbits(62))
            if "namespace_id" in row:
                row["namespace_id"] = MINE
            self.noun.settle(row)
            row |= {name: number for name in primary if isinstance(row[name], int) and name not in key}
            row |= {name: f"{row[name]}{number}" for name in self.noun.unique if isinstance(row[name], str)}
            found.setdefault(tuple(row[name] for name in key), row)
        return list(found.values())

    def value(self, field: Field) -> Any:
        """What a row may hold in this field, as it is stored."""
        if self.noun.columns[field.name].nullable and self.chance.random() < 0.25:
            return None
        match field.kind:
            case Kind.ID:
                many = 10**6 if field.name in self.noun.asked.key else self.few
                return f"01890a5d-ac96-774b-bcce-{self.chance.randrange(many) * 7919:012x}"
            case Kind.TEXT:
                # What tells rows apart is longer, so that there are enough of it.
                length = 4 if field.name in self.noun.asked.key else self.chance.randrange(1, 4)
                return "".join(self.chance.choices(LETTERS, k=length))
            case Kind.INT:
                return self.chance.randrange(-2, 4)
            case Kind.FLOAT:
                return self.chance.choice([0.0, 0.1, -2.5, 1e300])
            case Kind.BOOL:
                return self.chance.random() < 0.5
            case Kind.INSTANT:
                many = 10**6 if field.name in self.noun.asked.key else self.few
                return NOW + self.chance.randrange(many) * 999_999
            case Kind.ENUM:
                return self.chance.choice(list(field.enum_values.values()))
            case Kind.TAGS:
                raise AssertionError("tags lie in a table of their own")

    def tags(self) -> dict[str, str]:
        """A row's tags."""
        return {key: self.chance.choice(TAG_VALUES) for key in TAGS if self.chance.random() < 0.5}

    def _column(self, column: sa.Column[Any]) -> Any:
        """Something for a column that no field stands for."""
        if column.nullable:
            return None
        match column.type:
            case Id():
                return PARENT
            case sa.Boolean():
                return False
            case sa.LargeBinary():
                return b""
            case sa.Integer() | sa.Double():
                return 1
            case _:
                return "[]"

"""How settings are printed: a table for people, JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

Row = tuple[str, str, object, str]  # program, key, value, origin


def show(rows: Sequence[Row], *, origin: bool, output: str) -> None:
    """Print settings. Raises ValueError for a form that is not known."""
    if output == "table":
        _table(rows, origin=origin)
        return
    if output not in ("json", "yaml"):
        raise ValueError(f"--output {output}: must be table, json or yaml")
    found = [
        {"program": program, "key": key, "value": value} | ({"origin": where} if origin else {})
        for program, key, value, where in rows
    ]
    if output == "json":
        as_json(found)
        return
    import yaml

    sys.stdout.write(yaml.safe_dump(found, sort_keys=False))


def as_json(found: object) -> None:
    """Print what a program reads."""
    json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def _table(rows: Sequence[Row], *, origin: bool) -> None:
    widest = max(len(key) for _, key, _, _ in rows)
    shown = [(program, key, _text(value), where) for program, key, value, where in rows]
    values = max((len(value) for _, _, value, _ in shown), default=0)
    last = ""
    for program, key, value, where in shown:
        if program != last:
            sys.stdout.write(f"{'' if not last else chr(10)}{program}\n")
            last = program
        line = f"  {key:<{widest}}  {value:<{min(values, 48)}}  {where}" if origin else f"  {key:<{widest}}  {value}"
        sys.stdout.write(line.rstrip() + "\n")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value)

"""The page about failing work names every code that an agent gives."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "controlplane" / "TASKS.md"


def codes() -> Iterator[str]:
    """The codes that stand in the agent's own text."""
    for path in (ROOT / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Failure" and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    yield code.value


def test_every_code_is_on_the_page_or_belongs_to_a_family_that_is() -> None:
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", PAGE.read_text()))
    found = {code for code in codes() if not code.startswith("PLUGIN_")}
    assert len(found) > 15
    assert found <= named

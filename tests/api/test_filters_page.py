"""What people read about filters is what the lists take: the page on REST, and the comments in the contract."""

import json
import re
from pathlib import Path

import pytest

from controlplane.domain.filter import Kind, Queryable
from tests.api.filters_page import AS_TASKS, BEGIN, END, PAGE, PATHS, asked, redrawn

ROOT = Path(__file__).parents[2]


def test_the_tables_of_filters_are_those_of_the_lists() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert page == redrawn(page), "python -m tests.api.filters_page"


def test_every_list_that_takes_a_filter_is_in_the_table() -> None:
    paths = json.loads((PAGE.parent / "openapi.json").read_text(encoding="utf-8"))["paths"]
    assert {path.removesuffix("/page") for path in paths if path.endswith("/page")} - AS_TASKS == set(PATHS.values())
    assert {noun.noun for noun in asked()} == set(PATHS)


@pytest.mark.parametrize("noun", asked(), ids=lambda noun: noun.noun)
def test_the_contract_names_the_fields_of_each_list_and_those_with_an_index(noun: Queryable) -> None:
    message = "List" + "".join(word.capitalize() for word in noun.noun.split()) + "sRequest"
    protos = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "proto/pawl/v1").glob("*.proto")))
    comment = " ".join(re.findall(r"// ?(.*)", protos.partition(f"message {message} ")[0].rpartition("\n\n")[2]))
    found = re.search(r"Filterable: (?P<fields>[^(]*)\(indexed: (?P<indexed>[^)]*)\)", comment)
    assert found is not None, comment
    names = [field.name for field in noun.fields if field.kind is not Kind.TAGS]
    tags = [field.name for field in noun.fields if field.kind is Kind.TAGS]
    assert set(_words(found["fields"])) == {*names, *(f"{one}.<key>" for one in tags)}
    assert set(_words(found["indexed"])) == {field.name for field in noun.fields if field.indexed}


def _words(text: str) -> list[str]:
    return [word for word in re.split(r",\s*|\s+and\s+|\s+", text.strip()) if word]

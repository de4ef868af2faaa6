"""The OpenAPI document says what is served: the same paths, comments, shapes."""

import json
from pathlib import Path
from typing import Any

import pytest
from pawl import v1

from controlplane.api.docs import OPENAPI
from controlplane.api.methods import table
from controlplane.api.openapi import document
from controlplane.api.routes import template_parameters

DESCRIPTORS = Path(next(iter(v1.__path__))) / "descriptors.binpb"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document(DESCRIPTORS.read_bytes())


def test_the_document_that_is_served_is_current_and_made_the_same_every_time(made: dict[str, Any]) -> None:
    assert json.loads(OPENAPI.read_text(encoding="utf-8")) == made
    assert json.dumps(document(DESCRIPTORS.read_bytes())) == json.dumps(made)


def test_every_binding_of_every_rpc_is_in_the_document_once(made: dict[str, Any]) -> None:
    served = {
        (rule.verb.lower(), template_parameters(rule.template)[0])
        for method in table().values()
        for rule in method.rules
    }
    assert {(verb, path) for path, item in made["paths"].items() for verb in item} == served
    ids = [operation["operationId"] for item in made["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))


def test_comments_of_the_proto_files_are_the_descriptions(made: dict[str, Any]) -> None:
    schemas = made["components"]["schemas"]
    assert made["paths"]["/api/v1/jobs/{id}"]["get"]["description"] == "Reads a job by id or name."
    assert schemas["Job"]["properties"]["name"]["description"].startswith("Unique in the namespace")
    assert "- `DISABLED`: No new tasks" in schemas["JobStatus"]["description"]
    assert all(operation["description"] for item in made["paths"].values() for operation in item.values())
    undescribed = [
        (name, field)
        for name, schema in schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if name != "Error" and not name.startswith("google") and "description" not in inner
    ]
    assert not undescribed


def test_what_only_the_server_sets_is_read_only_and_what_must_be_given_is_required(made: dict[str, Any]) -> None:
    job = made["components"]["schemas"]["Job"]
    assert job["required"] == ["name", "config"]
    assert job["properties"]["version"]["readOnly"]
    assert "required" not in made["components"]["schemas"]["JobChange"]


def test_shapes_are_those_of_the_json(made: dict[str, Any]) -> None:
    schemas = made["components"]["schemas"]
    assert schemas["SystemMetrics"]["properties"]["ready"]["type"] == "string"
    assert schemas["Task"]["properties"]["created_at"]["format"] == "date-time"
    assert schemas["Task"]["properties"]["tags"]["additionalProperties"] == {"type": "string"}
    watch = made["paths"]["/api/v1/tasks/{id}:watch"]["get"]["responses"]["200"]["content"]
    assert list(watch) == ["application/x-ndjson", "text/event-stream", "application/json"]


def test_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    names = made["components"]["schemas"].keys()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            reference = node.get("$ref", "")
            if reference.startswith("#/components/schemas/"):
                assert reference.rpartition("/")[2] in names
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(made)

"""The OpenAPI document says what is served: the same paths, comments, shapes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from pawl import v1

from controlplane.api.docs import OPENAPI
from controlplane.api.methods import table
from controlplane.api.negotiate import tags_of
from controlplane.api.openapi import document
from controlplane.api.openapi_examples import EXAMPLES
from controlplane.api.openapi_limits import BY_FIELD, TAGS_PATTERN
from controlplane.api.routes import Router, template_parameters
from controlplane.api.transcode import NO_QUERY, build_request
from controlplane.domain import job_rules
from controlplane.domain.errors import Invalid

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


def test_every_id_that_an_operation_asks_for_in_its_path_is_in_its_path_and_no_other(made: dict[str, Any]) -> None:
    for path, operations in made["paths"].items():
        named = set(re.findall(r"{([^}]+)}", path))
        for verb, operation in operations.items():
            parameters = [one for one in operation.get("parameters", ()) if one["in"] == "path"]
            assert {one["name"] for one in parameters} == named, f"{verb} {path}"
            assert all(one["required"] for one in parameters), f"{verb} {path}"


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


def test_every_example_is_a_request_that_is_understood(made: dict[str, Any]) -> None:
    methods, told = table(), set()
    for name, method in methods.items():
        for rule in method.rules:
            operation = made["paths"][template_parameters(rule.template)[0]][rule.verb.lower()]
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in content:
                told.add(name)
                path = re.sub(r"\{[^}]*\}", "convert", rule.template)
                match = Router(methods.values()).match(rule.verb, path)
                assert match is not None
                body = json.dumps(content["example"]).encode()
                assert build_request(match, NO_QUERY, body, "application/json").ByteSize()
    assert told == EXAMPLES.keys()


def test_every_bound_is_of_a_field_that_there_is() -> None:
    pool: Any = descriptor_pool.Default()
    for name in BY_FIELD:
        assert pool.FindFieldByName(name).full_name == name


def test_bounds_of_the_rules_are_bounds_of_the_schemas(made: dict[str, Any]) -> None:
    schemas = made["components"]["schemas"]
    timeout = schemas["JobConfig"]["properties"]["timeout"]
    assert (timeout["minimum"], timeout["maximum"]) == (job_rules.MIN_TIMEOUT, job_rules.MAX_TIMEOUT)
    assert schemas["Page"]["properties"]["page_size"]["maximum"] == 1000
    identifier = made["paths"]["/api/v1/tasks/{id}"]["get"]["parameters"][0]["schema"]
    assert re.fullmatch(identifier["pattern"], "01980000-0000-7000-8000-00000000ABCD")
    assert {"not": {"required": ["status", "state"]}} in schemas["Task"]["allOf"]


@pytest.mark.parametrize("value", ["*", '"3"', 'W/"3"', "3", '"1", "2"', "", '"1', '"1" "2"'])
def test_the_pattern_of_if_match_is_what_is_read(value: str) -> None:
    try:
        tags_of(value, "If-Match")
    except Invalid:
        assert not re.fullmatch(TAGS_PATTERN[1:-1], value)
    else:
        assert re.fullmatch(TAGS_PATTERN[1:-1], value)

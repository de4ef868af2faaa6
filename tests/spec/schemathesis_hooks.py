"""What schemathesis needs to know of Pawl: three of its checks with the exceptions that are meant, and two media types.

The checks are not off: each is run as it is, and a finding passes only if it is one of those listed here, which no
schema can say. Loaded by the command line of schemathesis (`test_schemathesis.py`), not by pytest.
"""

import json
import re
from typing import Any

import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure

BUILT_IN: Any = CHECKS.get_one  # of several kinds, which its types do not tell apart
# Refusals of what a schema allows: part of the violation, and why no schema says it.
BEYOND_SCHEMAS: dict[str, str] = {
    r"cannot be given together with|numbers reach the first": "parameters that depend on each other",
    r"belongs to executor|an update does not|must lie in the future": "what fits the kind, the call and the clock",
    r"contradicts the header|in the body, but .* in the path|is given twice": "one thing said in two places",
    r"is (true|false), but .*status is": "one thing said in two places",
    r"must be a (whole number|multiple)": "where a piece begins",
    r"is damaged or belongs to another query|must be the cursor of": "tokens and cursors are opaque",
    r"order_by: ": "an order is a small language",
    r"filter\.?.*: ": "a filter is a small language",
    r"update_mask.*: ": "a mask names fields of the resource",
    r" is required": "what is required depends on the kind of schedule or executor, and of nested messages on the call",
    r"a grant of nothing|is no host|secrets\[\d+\]: ": "hosts and secrets have rules of their own",
    r"(holds a|contain) NUL": "JSON allows it in every string",
    r"must match \[A-Za-z0-9\]": "a name does not look like a UUID, and is none of four words",
    r"is not offered; allowed are|is no logger of this server": "what this server has",
    r"not a WebAssembly module|must be base64|public_key: |signature: ": "what bytes hold",
    r"timezone: |cron_expression: |_time: |start_time|end_time": "zones, cron expressions and the order of instants",
    r"environment\.|labels\.|tags\.|headers\.|at most": "keys and values of maps, sizes in bytes",
    r"must be a UUID": "of a field that may be empty",
    r"must be [\d.,]+ to [\d.,]+": "bounds that a newer field has: tell controlplane/api/openapi_limits.py",
    r"must lie between": "integers have their width",
    r"2\^53|is nested deeper": "what a double cannot hold, and how deep it may be",
    r"url: ": "addresses",
    r"is of (SHARDED|BROADCAST|AT_LEAST)|is for all alike|must have|there are only": "what fits the mode of a group",
}


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: Any) -> None:
    """Calls that wait for tasks to end are not waited for: nothing here runs tasks."""
    if re.search(r":watch$|/logs$|:run$|:wait$", case.operation.path):
        case.headers["X-Server-Timeout"] = "3"


def _violations(response: Any) -> list[str]:
    """Each violation of a refusal: the field and what is allowed."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError):
        return []
    found = [
        f"{one['field']}: {one['description']}"
        for detail in error["details"]
        for one in detail.get("field_violations", detail.get("fieldViolations", ()))
    ]
    return found or [error["message"]]


@schemathesis.check
def what_a_schema_allows_is_refused_for_what_no_schema_says(ctx: Any, response: Any, case: Any) -> None:
    """`positive_data_acceptance`, where the refusal has none of the reasons above."""
    try:
        BUILT_IN("positive_data_acceptance")(ctx, response, case)
    except Failure:
        if response.status_code not in (400, 412):
            raise
        if response.json()["error"]["status"] in ("FAILED_PRECONDITION", "ABORTED"):
            return  # valid, but not now: what a state is, no schema says
        for violation in _violations(response):
            if not any(re.search(words, violation) for words in BEYOND_SCHEMAS):
                raise


@schemathesis.check
def what_a_schema_forbids_is_refused_but_for_what_protobuf_allows(ctx: Any, response: Any, case: Any) -> None:
    """`negative_data_rejection`; null leaves a field out, an enum may be a number, and a number text."""
    try:
        BUILT_IN("negative_data_rejection")(ctx, response, case)
    except Failure as failure:
        named = re.search(r"in body - (\w+): Incorrect type", str(failure))
        value = case.body.get(named[1]) if named is not None and isinstance(case.body, dict) else None
        if not (_holds_null(case.body) or _is_number(value)):
            raise


def _holds_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(one is None or _holds_null(one) for one in value.values())
    return isinstance(value, list) and any(one is None or _holds_null(one) for one in value)


def _is_number(value: Any) -> bool:
    text = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", text) is not None


@schemathesis.check
def allow_names_the_methods_of_every_template_that_fits(ctx: Any, response: Any, case: Any) -> None:
    """`allow_header_conformance`; /jobs/page is /jobs/{id} as well, and Allow speaks of the path, not of a template."""
    try:
        BUILT_IN("allow_header_conformance")(ctx, response, case)
    except Failure:
        path = response.request.url.partition("://")[2].partition("?")[0].partition("/")[2]
        paths = case.operation.schema.raw_schema["paths"]
        fitting = [item for template, item in paths.items() if _fits(template, f"/{path}")]
        declared = {verb.upper() for item in fitting for verb in item}
        allowed = {verb.strip() for verb in response.headers["allow"][0].split(",")}
        if allowed - {"HEAD", "OPTIONS"} != declared:
            raise


def _fits(template: str, path: str) -> bool:
    pattern = "".join(
        "[^/:]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]+\})", template)
    )
    return re.fullmatch(pattern, path) is not None


@schemathesis.deserializer("application/x-ndjson")
def lines(ctx: Any, response: Any) -> Any:
    """The first line: schemas describe one."""
    found = response.content.decode().splitlines()
    return json.loads(found[0]) if found else {"error": {"code": 0, "status": "", "message": "", "details": []}}


@schemathesis.deserializer("application/octet-stream", "application/wasm", "text/event-stream")
def raw(ctx: Any, response: Any) -> Any:
    """Bytes are what they are."""
    return response.content.decode("latin-1")

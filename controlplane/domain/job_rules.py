"""What a job may say: every field with its bounds, as violations that name the field's path in the request.

Pure, and about form only. Not here: whether the name is free and whether the plugin exists (the engine asks the store),
and how the fields travel (`api/translate.py`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from controlplane.domain.errors import Violation
from controlplane.domain.filter import is_storable
from controlplane.domain.ids import name_problem
from controlplane.domain.job import JobConfig, JobSpec, ResourceLimits
from controlplane.domain.placement import (
    NUMERIC,
    LabelRule,
    Operator,
    PlacementRules,
    Strategy,
    holds_other_than_tags,
    number,
)
from controlplane.domain.retry import Backoff, RetryRules

EXECUTORS = ("process", "wasm", "http", "function")
"""Those with settings of their own in a job; what agents offer beside them takes `options`."""
HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_URL = 8_192
MAX_OPTIONS_BYTES = 65_536
MAX_DESCRIPTION = 4_096
MAX_ARGS = 1_000
MAX_TEXT_BYTES = 128 * 1024  # of one set of arguments or variables: what Linux takes for a single string of an exec
MAX_ENTRIES = 1_000
MAX_KEY = 255
MAX_LABELS = 64
MAX_LABEL_KEY = 63
MAX_LABEL_VALUE = 255
MAX_PATH = 4_096
MAX_OUTPUT_SIZE = 104_857_600
MAX_ARTIFACTS, MAX_ARTIFACT_SIZE, MAX_ARTIFACTS_SIZE = 1_000, 104_857_600, 1_073_741_824
MAX_MEDIA_TYPE = 255
MIN_HEARTBEAT = 1.0  # what a program says is looked at twice a second
MIN_TIMEOUT, MAX_TIMEOUT = 0.001, 366 * 86_400.0
# Of each field of `resource_limits`: what is allowed, both ends included.
LIMITS: Mapping[str, tuple[float, float]] = {
    "max_memory_mb": (1, 16_777_216),
    "max_cpu_percent": (0.01, 102_400),
    "max_execution_time_secs": (MIN_TIMEOUT, MAX_TIMEOUT),
    "max_output_size_bytes": (1, MAX_OUTPUT_SIZE),
    "max_processes": (1, 4_194_304),
    "max_open_files": (16, 1_048_576),
}
MAX_RETRIES = 1_000
MAX_RETRY_INTERVAL = 30 * 86_400.0
MAX_MULTIPLIER = 100.0
MAX_CODES, MAX_CODE = 50, 64
MAX_GRACE = 3_600.0
MAX_STALLED = 1_000
MIN_LOST_AFTER, MAX_LOST_AFTER = 3.0, 86_400.0
MAX_PRIORITY = 1_000
MAX_REFERENCE = 200
MAX_RULES = MAX_VALUES = MAX_AGENTS = MAX_RESOURCES = 64
MAX_WEIGHT = 100
MAX_SLOTS = 100_000
MAX_UNITS = 1_000_000
MAX_RUNNING = 10_000_000
RESERVED_PREFIX = "PAWL_"

_URL = re.compile(r"https?://[^\s/@\\?#]+([/?#][!-~]*)?", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What frames a message is the client's own.
_FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"}
)
_TOKEN = "[!#$&^_.+0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(\s*;\s*{_TOKEN}=({_TOKEN}|"[ !#-\[\]-~]*"))*', re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9_.*?-]{1,64}")
_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


def job_problems(name: str, spec: JobSpec, path: str = "job") -> list[Violation]:
    """Everything that is wrong with a job; empty when it may be stored."""
    return [
        *name_violations(name, f"{path}.name"),
        *text_problems(spec.description, f"{path}.description", MAX_DESCRIPTION),
        *environment_problems(spec.environment, f"{path}.environment"),
        *_config_problems(spec.config, f"{path}.config"),
    ]


def name_violations(name: str, path: str) -> Iterator[Violation]:
    """The rule of names: jobs, schedules, agents, plugins."""
    if not name:
        yield Violation(path, "is required")
    elif (problem := name_problem(name)) is not None:
        yield Violation(path, problem)


def text_problems(text: str, path: str, most: int) -> Iterator[Violation]:
    """Text of at most so many characters that both databases can hold."""
    if len(text) > most:
        yield Violation(path, f"has {len(text):,} characters, at most {most:,} are allowed")
    elif not is_storable(text):
        yield Violation(path, "must not contain NUL")


def environment_problems(environment: Mapping[str, str], path: str) -> Iterator[Violation]:
    """Environment variables as the operating system and Pawl allow them; of jobs, schedules and tasks alike."""
    yield from _map_size(environment, path)
    for key, value in environment.items():
        shown = f"{path}.{key[:MAX_KEY]}"
        if not key or "=" in key or "\0" in key:
            yield Violation(shown, "a variable's name must not be empty and must not contain '=' or NUL")
        elif len(key) > MAX_KEY:
            yield Violation(shown, f"a variable's name has at most {MAX_KEY} characters")
        elif key.upper().startswith(RESERVED_PREFIX):
            yield Violation(shown, f"names that start with {RESERVED_PREFIX} are reserved for Pawl itself")
        if not is_storable(value):
            yield Violation(shown, "must not contain NUL")


def label_problems(labels: Mapping[str, str], path: str, noun: str = "label") -> Iterator[Violation]:
    """Labels and tags: few, short, not empty."""
    if len(labels) > MAX_LABELS:
        yield Violation(path, f"has {len(labels):,} entries, at most {MAX_LABELS} are allowed")
        return
    for key, value in labels.items():
        shown = f"{path}.{key[:MAX_LABEL_KEY]}"
        if not 1 <= len(key) <= MAX_LABEL_KEY:
            yield Violation(shown, f"a {noun}'s key has 1 to {MAX_LABEL_KEY} characters")
        if len(value) > MAX_LABEL_VALUE:
            yield Violation(shown, f"a {noun}'s value has at most {MAX_LABEL_VALUE} characters")
        if not (is_storable(key) and is_storable(value)):
            yield Violation(shown, "must not contain NUL")


def number_problems(value: float, path: str, least: float, most: float) -> Iterator[Violation]:
    """A number between two bounds, both allowed. NaN is in no range."""
    if not (math.isfinite(value) and least <= value <= most):
        yield Violation(path, f"must be {least:,} to {most:,}, not {value}")


def limit_problems(limits: ResourceLimits, path: str) -> Iterator[Violation]:
    """What an attempt may use; None is no limit."""
    for name, (least, most) in LIMITS.items():
        value = getattr(limits, name)
        if value is not None:
            yield from number_problems(value, f"{path}.{name}", least, most)


def deadline_problems(start: float | None, total: float | None, path: str) -> Iterator[Violation]:
    """Of a wait for an agent and of all of a task, seconds; None is no limit."""
    for name, value in (("schedule_to_start_timeout_seconds", start), ("total_timeout_seconds", total)):
        if value is not None:
            yield from number_problems(value, f"{path}.{name}", MIN_TIMEOUT, MAX_TIMEOUT)


def _config_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    yield from _program_problems(config, path)
    yield from environment_problems(config.environment, f"{path}.environment")
    yield from label_problems(config.labels, f"{path}.labels")
    yield from number_problems(config.max_output_size, f"{path}.max_output_size", 1, MAX_OUTPUT_SIZE)
    yield from number_problems(config.timeout, f"{path}.timeout", MIN_TIMEOUT, MAX_TIMEOUT)
    yield from number_problems(config.max_retries, f"{path}.max_retries", 0, MAX_RETRIES)
    yield from number_problems(config.retry_interval, f"{path}.retry_interval", 0, MAX_RETRY_INTERVAL)
    yield from _retry_problems(config.retry, config.retry_interval, f"{path}.retry")
    yield from number_problems(config.grace_seconds, f"{path}.grace_seconds", 0, MAX_GRACE)
    yield from number_problems(config.max_stalled, f"{path}.max_stalled", 0, MAX_STALLED)
    yield from number_problems(config.lost_after_seconds, f"{path}.lost_after_seconds", MIN_LOST_AFTER, MAX_LOST_AFTER)
    yield from number_problems(config.priority, f"{path}.priority", 0, MAX_PRIORITY)
    yield from limit_problems(config.resource_limits, f"{path}.resource_limits")
    yield from deadline_problems(config.schedule_to_start_timeout_seconds, config.total_timeout_seconds, path)
    if config.heartbeat_timeout_seconds is not None:
        shown = f"{path}.heartbeat_timeout_seconds"
        yield from number_problems(config.heartbeat_timeout_seconds, shown, MIN_HEARTBEAT, MAX_TIMEOUT)
        if config.executor == "http":
            yield Violation(shown, "a request says nothing while it runs; leave it out for executor http")
    yield from _artifact_problems(config, path)
    yield from number_problems(config.max_running, f"{path}.max_running", 0, MAX_RUNNING)
    yield from _placement_problems(config.placement, f"{path}.placement")


def _placement_problems(rules: PlacementRules, path: str) -> Iterator[Violation]:
    for name, group in (("required", rules.required), ("preferred", rules.preferred)):
        if len(group) > MAX_RULES:
            yield Violation(f"{path}.{name}", f"has {len(group):,} rules, at most {MAX_RULES} are allowed")
            continue
        for index, rule in enumerate(group):
            yield from _rule_problems(rule, f"{path}.{name}[{index}]", weighed=name == "preferred")
    if rules.sticky_key and rules.strategy is not Strategy.STICKY:
        yield Violation(f"{path}.sticky_key", "belongs to strategy STICKY; leave it out, or set strategy to STICKY")
    if holds_other_than_tags(rules.sticky_key):
        yield Violation(f"{path}.sticky_key", "holds a ${...} that is none: ${tags.NAME} stands for a task's tag")
    yield from text_problems(rules.sticky_key, f"{path}.sticky_key", MAX_KEY)
    if len(rules.agents) > MAX_AGENTS:
        yield Violation(f"{path}.agents", f"names {len(rules.agents):,} agents, at most {MAX_AGENTS} are allowed")
    for index, name in enumerate(rules.agents[:MAX_AGENTS]):
        yield from name_violations(name, f"{path}.agents[{index}]")
    yield from number_problems(rules.slots, f"{path}.slots", 1, MAX_SLOTS)
    yield from resource_problems(rules.resources, f"{path}.resources", least=1)


def _rule_problems(rule: LabelRule, path: str, *, weighed: bool) -> Iterator[Violation]:
    if not rule.label:
        yield Violation(f"{path}.label", "is required: the label that is compared")
    else:
        yield from label_problems({rule.label: ""}, f"{path}.label")
    alone = rule.op in (Operator.EXISTS, Operator.NOT_EXISTS)
    listed = rule.op in (Operator.IN, Operator.NOT_IN)
    least, most = (0, 0) if alone else (1, MAX_VALUES if listed else 1)
    if not least <= len(rule.values) <= most:
        wanted = "no value" if alone else f"1 to {MAX_VALUES} values" if listed else "exactly one value"
        yield Violation(f"{path}.values", f"has {len(rule.values)}; {rule.op.name} takes {wanted}")
    for index, value in enumerate(rule.values[:MAX_VALUES]):
        yield from text_problems(value, f"{path}.values[{index}]", MAX_LABEL_VALUE)
        if rule.op in NUMERIC and number(value) is None:
            yield Violation(
                f"{path}.values[{index}]", f"must be a decimal number for {rule.op.name}, not {value[:64]!r}"
            )
    if not weighed and rule.weight is not None:
        yield Violation(f"{path}.weight", "is for preferred rules; a required one is met or not")
    elif weighed and rule.weight is not None:
        yield from number_problems(rule.weight, f"{path}.weight", -MAX_WEIGHT, MAX_WEIGHT)


def resource_problems(resources: Mapping[str, int], path: str, *, least: int) -> Iterator[Violation]:
    """Units by the name of a resource: what work takes up, and what an agent has."""
    if len(resources) > MAX_RESOURCES:
        yield Violation(path, f"has {len(resources):,} entries, at most {MAX_RESOURCES} are allowed")
        return
    for name, units in resources.items():
        shown = f"{path}.{name[:MAX_LABEL_KEY]}"
        if name == "slots":
            yield Violation(shown, "slots are no resource: they have a setting of their own")
        else:
            yield from name_violations(name, shown)
        yield from number_problems(units, shown, least, MAX_UNITS)


def media_type_problem(text: str) -> str | None:
    """Why this is no media type; None if it is one."""
    if len(text) > MAX_MEDIA_TYPE or not _MEDIA_TYPE.fullmatch(text):
        return f"must be a media type such as application/json, of at most {MAX_MEDIA_TYPE} characters"
    return None


def _artifact_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    if config.output_content_type and (problem := media_type_problem(config.output_content_type)) is not None:
        yield Violation(f"{path}.output_content_type", problem)
    if config.output_content_type and config.executor != "process":
        yield Violation(f"{path}.output_content_type", "only programs of the executor `process` have it")
    rules = config.artifacts
    if rules is None:
        return
    if config.executor != "process":
        yield Violation(f"{path}.artifacts", "only programs of the executor `process` leave files")
    yield from number_problems(rules.max_files, f"{path}.artifacts.max_files", 1, MAX_ARTIFACTS)
    yield from number_problems(rules.max_file_size, f"{path}.artifacts.max_file_size", 1, MAX_ARTIFACT_SIZE)
    yield from number_problems(rules.max_total_size, f"{path}.artifacts.max_total_size", 1, MAX_ARTIFACTS_SIZE)


def _retry_problems(rules: RetryRules, interval: float, path: str) -> Iterator[Violation]:
    yield from number_problems(rules.multiplier, f"{path}.multiplier", 1, MAX_MULTIPLIER)
    yield from number_problems(rules.jitter, f"{path}.jitter", 0, 1)
    longest, shown = rules.max_interval_seconds, f"{path}.max_interval_seconds"
    yield from number_problems(longest, shown, 0.001, MAX_RETRY_INTERVAL)
    if rules.backoff is not Backoff.FIXED and longest < interval <= MAX_RETRY_INTERVAL:
        yield Violation(shown, f"must be at least the first wait, retry_interval ({interval:g})")
    if rules.max_elapsed_seconds is not None:
        yield from number_problems(rules.max_elapsed_seconds, f"{path}.max_elapsed_seconds", 0.001, MAX_TIMEOUT)
    yield from _code_problems(rules.retry_on, f"{path}.retry_on")
    yield from _code_problems(rules.fail_on, f"{path}.fail_on")


def _code_problems(codes: Sequence[str], path: str) -> Iterator[Violation]:
    if len(codes) > MAX_CODES:
        yield Violation(path, f"has {len(codes):,} entries, at most {MAX_CODES} are allowed")
        return
    for index, code in enumerate(codes):
        if not _CODE.fullmatch(code):
            yield Violation(
                f"{path}[{index}]",
                f"is no code: write EXIT_3, SIGNAL_KILL, TIMEOUT or the name of an error, 1 to {MAX_CODE} letters,"
                " digits, '_', '.' and '-', with '*' and '?' for any",
            )


def _program_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    """What is run: one executor, and nothing that belongs to another one."""
    if config.executor == "process":
        yield from _process_problems(config, path)
    elif config.executor == "wasm":
        yield from _wasm_problems(config, path)
    elif config.executor == "http":
        yield from _http_problems(config, path)
    elif config.executor == "function":
        yield from _function_problems(config, path)
    else:
        yield from _offered_problems(config, path)


def _process_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    if not config.cmd:
        yield Violation(f"{path}.cmd", "is required for executor process: the program to run")
    yield from text_problems(config.cmd, f"{path}.cmd", MAX_PATH)
    yield from text_problems(config.cwd, f"{path}.cwd", MAX_PATH)
    if len(config.args) > MAX_ARGS:
        yield Violation(f"{path}.args", f"has {len(config.args):,} arguments, at most {MAX_ARGS:,} are allowed")
    elif (total := sum(len(one.encode()) for one in config.args)) > MAX_TEXT_BYTES:
        yield Violation(f"{path}.args", f"has {total:,} bytes, at most {MAX_TEXT_BYTES:,} are allowed")
    for index, one in enumerate(config.args):
        if not is_storable(one):
            yield Violation(f"{path}.args[{index}]", "must not contain NUL")
    yield from _foreign_problems(config, path)


def _foreign_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    """Settings of executors that this job does not use: somebody means something else than what would happen."""
    if config.executor != "process":
        for name, given in (("cmd", config.cmd), ("args", config.args), ("cwd", config.cwd)):
            if given:
                yield Violation(f"{path}.{name}", f"belongs to executor process; leave it empty for {config.executor}")
    for executor, settings in (("wasm", config.wasm), ("http", config.http), ("function", config.function)):
        if settings is not None and executor != config.executor:
            message = f"belongs to executor {executor}; leave it out, or set executor to {executor}"
            yield Violation(f"{path}.{executor}", message)
    if config.options and config.executor in EXECUTORS:
        yield Violation(f"{path}.options", f"belongs to executors beside {', '.join(EXECUTORS)}; leave it out")


def _http_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    yield from _foreign_problems(config, path)
    if config.http is None or not config.http.url:
        yield Violation(f"{path}.http.url", "is required for executor http: what is called")
        return
    http = config.http
    if len(http.url) > MAX_URL or not _URL.fullmatch(http.url):
        allowed = f"http:// or https://, a host, and printable ASCII without spaces, at most {MAX_URL:,} characters"
        yield Violation(f"{path}.http.url", f"must be {allowed}; a user name in it is not allowed")
    if http.method not in HTTP_METHODS:
        yield Violation(f"{path}.http.method", f"must be one of {', '.join(HTTP_METHODS)}")
    yield from _map_size(http.headers, f"{path}.http.headers")
    for name, value in http.headers.items():
        shown = f"{path}.http.headers.{name[:MAX_KEY]}"
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING or name.lower().startswith("proxy-"):
            yield Violation(shown, "is no name of a header that a job may set")
        if not _HEADER_VALUE.fullmatch(value):
            yield Violation(shown, "must be of characters that a header can hold, without line breaks")


def _function_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    yield from _foreign_problems(config, path)
    if config.function is None or not config.function.name:
        yield Violation(f"{path}.function.name", "is required for executor function: <workflow>.<task>")
        return
    yield from name_violations(config.function.name, f"{path}.function.name")


def _offered_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    """An executor that is none of ours. Whether agents offer it, and what its options must be, only the store knows."""
    yield from name_violations(config.executor[:MAX_KEY], f"{path}.executor")
    if list(_foreign_problems(config, path)):
        known = ", ".join(EXECUTORS)
        message = f"{config.executor[:64]!r} is none of {known}, and another one takes its settings in options alone"
        yield Violation(f"{path}.executor", message)
    if not config.options:
        return
    if len(config.options.encode()) > MAX_OPTIONS_BYTES:
        yield Violation(f"{path}.options", f"has more than the {MAX_OPTIONS_BYTES:,} bytes that are allowed")
    elif not _is_json_object(config.options):
        yield Violation(f"{path}.options", "must be a JSON object")


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_no_json), dict)
    except (ValueError, RecursionError):
        return False


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _wasm_problems(config: JobConfig, path: str) -> Iterator[Violation]:
    yield from _foreign_problems(config, path)
    if config.wasm is None or not config.wasm.plugin:
        yield Violation(f"{path}.wasm.plugin", "is required for executor wasm: name, name@version or digest")
        return
    yield from text_problems(config.wasm.plugin, f"{path}.wasm.plugin", MAX_REFERENCE)
    yield from text_problems(config.wasm.entry, f"{path}.wasm.entry", MAX_KEY)
    yield from _map_size(config.wasm.config, f"{path}.wasm.config")
    for key, value in config.wasm.config.items():
        if not key or not is_storable(key) or not is_storable(value):
            yield Violation(f"{path}.wasm.config.{key[:MAX_KEY]}", "a key must not be empty; NUL is not allowed")


def _map_size(entries: Mapping[str, str], path: str) -> Iterator[Violation]:
    if len(entries) > MAX_ENTRIES:
        yield Violation(path, f"has {len(entries):,} entries, at most {MAX_ENTRIES:,} are allowed")
        return
    total = sum(len(key.encode()) + len(value.encode()) for key, value in entries.items())
    if total > MAX_TEXT_BYTES:
        yield Violation(path, f"has {total:,} bytes, at most {MAX_TEXT_BYTES:,} are allowed")


def digest_of_reference(reference: str) -> str | None:
    """The hex digest that a plugin reference spells out (`<hex>`, `sha256:<hex>`), or None for names."""
    bare = reference.removeprefix("sha256:")
    return bare.lower() if _HEX_DIGEST.fullmatch(bare) else None

"""What each executor runs in the cells of the matrix.

Work that is to be caught in the middle says some lines, calls the endpoint's `/held/<cell>`, and goes on when it has
its answer. Programs leave a stray behind that ignores TERM and has a session of its own, so that a cell always has
something that could outlive it.
"""

import json
from dataclasses import dataclass
from typing import Final

from pawl.v1.job_pb2 import Job, JobConfig

from tests.agent.wasm_stage import guest
from tests.faults.endpoint import ANSWER, FLOOD_BYTES

HELD_KINDS: Final = frozenset(
    {
        "timeout",
        "cancel-running",
        "cancel-finishing",
        "agent-killed",
        "link-cut",
        "control-plane-killed",
    }
)
"""Those whose runs stay until the test lets them go. (A plugin's cell `signal` is one as well.)"""
LINES: Final = 200
"""On each side of the wait."""
OUTPUT_BYTES: Final = 64 << 10
"""`max_output_size` of the floods."""
MEMORY_MB: Final = 64
PROCESSES: Final = 32
BOMB: Final = 200
"""Processes of the fork bomb: many more than it may have, and no danger to the machine if it gets them."""
TIMEOUT_SECONDS: Final = 1.0
FORKED_TIMEOUT_SECONDS: Final = 2.5
"""By then a process of Python has got as far as the function, on a busy machine too."""
LOST_AFTER_SECONDS: Final = 5.0
NOBODY: Final = {"nobody": "has this"}

STRAY: Final = "(trap '' TERM; exec setsid sleep 1000) >/dev/null 2>&1 &\n"


@dataclass(frozen=True)
class Work:
    """A job, and what is to be left of it when it succeeds."""

    job: Job
    output: bytes = b""
    log: str = ""
    """All of it, the streams in order; a plugin's lines have their level before them."""
    input: int | None = None


def name_of(executor: str, kind: str) -> str:
    """A cell's name: its job's, and its path at the endpoint."""
    return f"{kind}-{executor}"


def job(executor: str, kind: str, config: JobConfig) -> Job:
    """With what all cells have in common."""
    config.executor = executor.partition("-")[0]
    config.max_retries = 1
    config.retry_interval = 0.05
    config.grace_seconds = 1
    if kind == "timeout":
        config.timeout = FORKED_TIMEOUT_SECONDS if executor == "function-process" else TIMEOUT_SECONDS
    if kind == "memory":
        config.resource_limits.max_memory_mb = MEMORY_MB
    if kind == "fork-bomb":
        config.resource_limits.max_processes = PROCESSES
        config.timeout = 20
    if kind == "output-flood":
        config.max_output_size = OUTPUT_BYTES
    if kind == "cancel-queued":
        config.labels.update(NOBODY)
    if kind == "agent-killed":
        config.lost_after_seconds = LOST_AFTER_SECONDS
    return Job(name=name_of(executor, kind), config=config)


# Programs


def process(kind: str, port: int) -> Work:
    """A script of bash, which can open a connection by itself."""
    before, after = _numbers(1, LINES), _numbers(LINES + 1, 2 * LINES)
    says = f"seq 1 {LINES}; seq {LINES + 1} {2 * LINES}"
    scripts = {
        "exit-code": "echo before; exit 3",
        "exception": "exec python3 -c 'raise ValueError(\"boom\")'",
        "signal": "kill -SEGV $$",
        "memory": f"exec python3 -c 'kept = b\"x\" * ({8 * MEMORY_MB} << 20)'",
        "fork-bomb": f"for each in $(seq {BOMB}); do sleep 1000 & done; wait",
        "output-flood": "head -c 3145728 /dev/zero | tr '\\0' x",
    }
    held = f"""seq 1 {LINES}
        exec 3<>/dev/tcp/127.0.0.1/{port} || exit 9
        printf 'GET /held/{name_of("process", kind)} HTTP/1.0\\r\\n\\r\\n' >&3
        read -r answer <&3 || exit 8
        seq {LINES + 1} {2 * LINES}"""
    script = held if kind in HELD_KINDS else scripts.get(kind, says)
    config = JobConfig(cmd="bash", args=["-c", STRAY + script])
    return Work(job("process", kind, config), (before + after).encode(), before + after)


def _numbers(first: int, last: int) -> str:
    return "".join(f"{number}\n" for number in range(first, last + 1))


# Plugins


def plugin(port: int) -> bytes:
    """One module with an entry for each thing that a plugin does."""
    kinds = sorted({*HELD_KINDS, "signal"})
    texts = {
        "before": "before",
        "after": "after",
        "done": ANSWER.decode(),
        "boom": json.dumps({"code": "BOOM", "message": "boom", "retryable": True}),
    } | {f"call_{_entry(kind)}": _call(kind, port) for kind in kinds}
    held = "\n".join(
        f"""(func (export "{_entry(kind)}") (call $log_warn (call $before))
            (drop (call $pawl (call $call_{_entry(kind)})))
            (call $log_warn (call $after)) (call $put (call $done)))"""
        for kind in kinds
    )
    return guest(
        f"""
        (func (export "execute_task")
          (call $log_warn (call $before)) (call $log_warn (call $after)) (call $put (call $done)))
        (func (export "on_exit_code") (result i32) (i32.const 3))
        (func (export "on_exception") (result i32) (call $error_set (call $boom)) (i32.const 1))
        (func (export "on_memory") (loop $more (drop (memory.grow (i32.const 64))) (br $more)))
        (func (export "on_output_flood") (call $put (call $alloc (i64.const 3145728))))
        {held}
        """,
        **texts,
    )


def _entry(kind: str) -> str:
    return "on_" + kind.replace("-", "_")


def _call(kind: str, port: int) -> str:
    url = f"http://127.0.0.1:{port}/held/{name_of('wasm', kind)}"
    return json.dumps({"op": "http", "args": {"url": url, "timeout_seconds": 60}})


def wasm(kind: str, digest: str) -> Work:
    """An entry of the plugin."""
    config = JobConfig()
    config.wasm.plugin = digest
    if kind in {*HELD_KINDS, "signal", "exit-code", "exception", "memory", "output-flood"}:
        config.wasm.entry = _entry(kind)
    return Work(job("wasm", kind, config), ANSWER, "WARN before\nWARN after\n")


# Requests


def http(kind: str, port: int, deaf_port: int) -> Work:
    """A request to the endpoint; at the deaf port nobody takes a connection."""
    paths = {"exit-code": "/refuses", "exception": "/breaks", "output-flood": "/floods"}
    path = f"/held/{name_of('http', kind)}" if kind in HELD_KINDS else paths.get(kind, "/answers")
    config = JobConfig()
    config.http.url = f"http://127.0.0.1:{deaf_port if kind == 'cancel-starting' else port}{path}"
    return Work(job("http", kind, config), ANSWER, f"POST {config.http.url}: 200\n")


# Functions


def function(executor: str, kind: str, port: int) -> Work:
    """A function of the worker's, inline or in a process of its own."""
    workflow = {"function-inline": "inline", "function-process": "forked"}[executor]
    own = {"exit-code", "exception", "signal", "memory", "output-flood", "fork-bomb"}
    config = JobConfig(environment={"ENDPOINT": str(port)})
    # One that is cancelled while it starts must not be done before it hears that.
    held = kind in HELD_KINDS or kind == "cancel-starting"
    config.function.name = f"{workflow}.{'held' if held else kind if kind in own else 'success'}"
    inputs = {"memory": 8 * MEMORY_MB, "output-flood": FLOOD_BYTES, "fork-bomb": BOMB}
    return Work(job(executor, kind, config), b'"done"', "before\nafter\n", inputs.get(kind))

"""Runs an attempt as one HTTP request: the endpoint does the work, its answer is the outcome.

The parameters are the body, the answer's body is the output. A redirect is followed within the same host alone: who may
define a job has said where its data goes. Nothing is retried here: what may help if it is tried again (no connection,
no answer in time, 408, 429, 5xx) is said to be so, with the wait that the endpoint asked for, and the job's own rules
decide. Every attempt carries the task's id as its `Idempotency-Key`, so that an endpoint that honours it does the work
once, however often it is asked.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

from pawl.hosts import HostRule

from agent.egress import METHODS, Egress, EgressError, Reach, Request, Response, Target
from agent.executors.base import Failure, LaunchError, LogStream, Outcome, Payload, Sink, Usage, Work
from agent.redaction import Redactor
from agent.secrets import Secrets, SecretUnreadable

REDIRECTS: Final = 5
LONGEST_SECONDS: Final = 366 * 86_400.0  # the attempt's own timeout ends it earlier
NO_SECRETS: Final[Mapping[str, Sequence[str]]] = {}
SHOWN_BYTES: Final = 2_048
"""Of an answer that is an error, in the log."""
BROKEN_OFF: Final = Outcome(Failure("STOPPED", "the request was broken off", retryable=False))
_HINTS: Final = {
    "HTTP_ADDRESS_REFUSED": "; an agent whose [http] private_hosts name it may call it",
    "HTTP_HOST_NOT_GRANTED": "; only redirects within the host of the job's url are followed",
}
_SECRET: Final = re.compile(r"\$\{secret:([A-Za-z0-9_]*)\}")
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_MAY_HELP: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """A job's settings for this executor, checked."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> HttpSettings:
        """LaunchError names the field that is wrong."""
        url, method, headers = settings.get("url"), settings.get("method") or "POST", settings.get("headers") or {}
        if not isinstance(url, str):
            raise _invalid("url", "must be a URL")
        if method not in METHODS or not isinstance(method, str):
            raise _invalid("method", f"must be one of {', '.join(METHODS)}")
        if not isinstance(headers, Mapping) or not all(isinstance(value, str) for value in headers.values()):
            raise _invalid("headers", "must be a map of strings")
        return cls(url, method, dict(headers))


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What the owner of the agent allows. `private_hosts` may have addresses that are not public; a secret is sent to
    the hosts that stand beside its name, and to no others."""

    private_hosts: Sequence[str] = ()
    secrets: Mapping[str, Sequence[str]] = field(default_factory=lambda: NO_SECRETS)


class HttpExecutor:
    """The Executor named `http`."""

    name = "http"
    not_held: Final = dict.fromkeys(
        ("max_memory_mb", "max_cpu_percent", "max_processes", "max_open_files"),
        "a request is made by the agent itself and has no process of its own",
    )

    def __init__(self, limits: HttpLimits, secrets: Secrets) -> None:
        """ValueError says which host of the limits is none."""
        self._private = tuple(map(HostRule.of, limits.private_hosts))
        self._secret_hosts = {name: tuple(map(HostRule.of, hosts)) for name, hosts in limits.secrets.items()}
        self._secrets = secrets
        self._runs: set[HttpRun] = set()

    async def open(self) -> None:
        """Nothing is held between runs."""

    async def launch(self, work: Work, sink: Sink) -> HttpRun:
        settings = HttpSettings.of(work.settings)
        try:
            target = Target.of(settings.url)
            redactor = Redactor()
            headers = {
                name: await self._filled(value, name, target, work, redactor)
                for name, value in settings.headers.items()
            }
            request = Request(
                settings.method,
                settings.url,
                _headers(work, headers, with_body=settings.method not in _WITHOUT_BODY),
                b"" if settings.method in _WITHOUT_BODY or work.parameters is None else work.parameters.data,
                LONGEST_SECONDS,
                REDIRECTS,
            )
            request.check()
        except EgressError as error:
            raise _invalid("http", str(error).removeprefix("args.")) from None
        run = HttpRun(request, self._reach(target), work.limits.output_bytes, sink, redactor)
        self._runs.add(run)
        run.begin(on_end=partial(self._runs.discard, run))
        sink.started()
        return run

    async def close(self) -> None:
        """Break off what is under way."""
        for run in tuple(self._runs):
            await run.stop(0)

    def _reach(self, target: Target) -> Reach:
        """The host that the job names, and no other, whatever it answers."""
        ports = (80, 443) if target.port in (80, 443) else (target.port,)
        own = tuple(HostRule(target.host, port) for port in ports)
        near = any(rule.matches(target.host, target.port, target.scheme) for rule in self._private)
        return Reach((), own) if near else Reach(own)

    async def _filled(self, value: str, header: str, target: Target, work: Work, redactor: Redactor) -> str:
        """A header's value with its secrets. LaunchError says which one is not there, or not for this host."""
        found = {name: await self._secret(name, header, target, work) for name in _SECRET.findall(value)}
        for secret in found.values():
            redactor.learn(secret)
        return _SECRET.sub(lambda match: found[match[1]], value)

    async def _secret(self, name: str, header: str, target: Target, work: Work) -> str:
        where = (target.host, target.port, target.scheme)
        if not any(rule.matches(*where) for rule in self._secret_hosts.get(name, ())):
            message = f"http.headers.{header}: this agent does not send a secret {name!r} to {target.origin}"
            raise LaunchError(Failure("SECRET_NOT_GRANTED", message, retryable=False))
        try:
            secret = await asyncio.to_thread(self._secrets.get, work.namespace_id, name)
        except SecretUnreadable as error:
            raise LaunchError(Failure("SECRET_UNREADABLE", f"http.headers.{header}: {name}: {error}")) from None
        if secret is None:
            message = f"http.headers.{header}: this agent has no secret {name!r}"
            raise LaunchError(Failure("SECRET_NOT_FOUND", message, retryable=False))
        return secret


class HttpRun:
    """One request under way."""

    def __init__(self, request: Request, reach: Reach, output_bytes: int, sink: Sink, redactor: Redactor) -> None:
        self._request = request
        self._reach = reach
        self._egress = Egress(response_bytes=output_bytes, longest_seconds=LONGEST_SECONDS)
        self._sink = sink
        self._redactor = redactor
        self._task: asyncio.Task[Outcome] | None = None

    def begin(self, *, on_end: Callable[[], None]) -> None:
        """Send it."""
        # The run outlives the launch that made it; whoever waits for the outcome, or stops it, is its parent.
        self._task = asyncio.get_running_loop().create_task(self._ask())
        self._task.add_done_callback(lambda _: on_end())

    async def wait(self) -> Outcome:
        """What the endpoint made of it."""
        assert self._task is not None, "begin comes first"
        await asyncio.wait([self._task])  # which leaves it alone when the wait is cancelled
        return BROKEN_OFF if self._task.cancelled() else self._task.result()

    async def stop(self, grace_seconds: float) -> None:
        """Break the connection: an endpoint has no other way to be told."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask(self) -> Outcome:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return self._judged(await self._egress.fetch(self._request, self._reach), Usage(clock() - began))
        except EgressError as error:
            words = str(error) + _HINTS.get(error.code, "")
            return Outcome(Failure(error.code, self._clean(words), error.retryable))
        except Exception as error:  # whatever the library met, the attempt has an end and the agent goes on
            return Outcome(Failure("HTTP_FAILED", self._clean(f"{type(error).__name__}: {error}")))

    def _judged(self, response: Response, usage: Usage) -> Outcome:
        content_type = next((value for name, value in response.headers if name == "content-type"), "")
        output = Payload(self._redactor.clean(response.body), content_type or "application/octet-stream")
        self._sink.log(LogStream.LOG, f"{self._request.method} {response.url}: {response.status}\n".encode())
        if 200 <= response.status < 300:
            return Outcome(output=output if response.body else None, output_size=len(response.body), usage=usage)
        if response.body:
            self._sink.log(LogStream.STDERR, output.data[:SHOWN_BYTES].rstrip(b"\n") + b"\n")
        failure = Failure(
            f"HTTP_{response.status}",
            f"{Target.of(response.url).origin} answered {response.status}",
            retryable=response.status >= 500 or response.status in _MAY_HELP,
            retry_after_seconds=_retry_after(response),
        )
        return Outcome(failure, output=output if response.body else None, output_size=len(response.body), usage=usage)

    def _clean(self, text: str) -> str:
        return self._redactor.clean(text.encode()).decode(errors="replace")


def _headers(work: Work, wanted: Mapping[str, str], *, with_body: bool) -> dict[str, str]:
    """What the job says, and beside it what an endpoint needs to know of the attempt."""
    given = {name.lower() for name in wanted}
    ours = {
        "User-Agent": "pawl",
        "Idempotency-Key": work.task_id,
        "Pawl-Task-Id": work.task_id,
        "Pawl-Attempt": str(work.attempt),
        "Pawl-Job": work.job_name,
        "Pawl-Namespace": work.namespace_id,
        **dict(work.trace.headers()),
    }
    if work.shard is not None:
        ours |= {"Pawl-Group-Id": work.shard.group_id, "Pawl-Shard-Index": str(work.shard.index)}
        ours["Pawl-Shard-Total"] = str(work.shard.total)
    if with_body and work.parameters is not None:
        ours["Content-Type"] = work.parameters.content_type
    return {name: value for name, value in ours.items() if name.lower() not in given} | dict(wanted)


def _retry_after(response: Response) -> float | None:
    """Seconds, or a date, as HTTP has it; nonsense counts as not said."""
    said = next((value.strip() for name, value in response.headers if name == "retry-after"), "")
    if said.isascii() and said.isdecimal():
        return float(said[:9])
    try:
        when = parsedate_to_datetime(said)
    except ValueError:
        return None
    seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _invalid(name: str, message: str) -> LaunchError:
    return LaunchError(Failure("INVALID_SETTINGS", f"settings.{name}: {message}", retryable=False))

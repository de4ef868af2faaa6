"""The main job, done for real in front of you: `make demo`.

Starts `pawl dev` on free ports of this machine in a folder of its own, defines a job over REST and another over gRPC,
runs both by hand and one by a schedule, shows what came out, and takes everything down again. Every answer is compared
with what it must be; the first that differs ends the demo with exit code 1 and the server's log. Not a test suite: that
is `make test`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import Any

from pawl.client import BlockingClient, Client
from pawl.payload import value_of
from pawl.v1.job_pb2 import Job, JobConfig, WasmConfig
from pawl.v1.task_pb2 import Task

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "plugins" / "examples" / "hello-c" / "plugin.wasm"

# As the guide for users prints it, to the letter.
PROCESS_JOB = """{
    "namespace_id": "default",
    "name": "hello-world-job",
    "description": "Hello World 示例任务",
    "environment": {
      "MESSAGE": "Hello from hetuflow!"
    },
    "config": {
      "timeout": 300,
      "max_retries": 2,
      "retry_interval": 30,
      "cmd": "bash",
      "args": ["-c", "echo $MESSAGE"],
      "capture_output": true,
      "max_output_size": 1024000
    }
  }"""
GREETING = "Hello from hetuflow!\n"
FIRES = 2
UP_SECONDS = 40.0
STEP_SECONDS = 20.0
LEAVE_SECONDS = 25.0


class Mismatch(Exception):
    """What came back is not what must come back."""


def expect(what: str, found: object, wanted: object) -> None:
    """Raises Mismatch unless both are equal."""
    if found != wanted:
        raise Mismatch(f"{what}: got {found!r}, expected {wanted!r}")


class Screen:
    """What the person sees: a line for each thing that is done, and in a terminal one for what is being waited for."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self._colours = self.live and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # stdout is a TextIOWrapper in a script
        plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        self._done, self._wrong, self._dots = ("ok", "!!", "...") if plain else ("✓", "✗", "…")
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def paint(self, text: str, code: str) -> str:
        """Text in a colour, where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def title(self, text: str) -> None:
        """What the next lines are about."""
        print(f"\n{self.paint(text, '1')}", flush=True)

    def line(self, text: str = "") -> None:
        """A detail."""
        print(f"    {text}".rstrip(), flush=True)

    def quote(self, text: str) -> None:
        """Words of a program, as it said them."""
        for line in text.splitlines():
            print(f"    {self.paint('| ', '2')}{self.paint(line, '36')}", flush=True)

    def wrong(self, text: str) -> None:
        """What went wrong."""
        print(f"\n  {self.paint(self._wrong, '31')} {text}", flush=True)

    @contextmanager
    def doing(self, text: str) -> Iterator[None]:
        """Say that something is being done, then that it is, and how long it took."""
        began = time.monotonic()
        if self.live:
            print(f"  {self._dots} {text}", end="", flush=True)
        try:
            yield
        except BaseException:
            print("\r\x1b[K" if self.live else "", end="", flush=True)
            raise
        took = self.paint(f"{time.monotonic() - began:5.2f} s", "2")
        start = "\r\x1b[K" if self.live else ""
        print(f"{start}  {self.paint(self._done, '32')} {text:<74} {took}", flush=True)


class Pawl:
    """`pawl dev` in a folder of its own. `stop` ends it and whatever it may have left, by process id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "pawl.log"
        self.http = ""
        self.grpc = ""
        command = [sys.executable, "-c", "import sys; from pawl.cli import main; sys.exit(main())", "dev"]
        options = ["--http-port", "0", "--grpc-port", "0", "--data-dir", str(folder / "data")]
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches us alone, and we end it in order.
            self._process = subprocess.Popen(
                [*command, *options],
                cwd=folder,
                env=_surroundings(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")

    def wait_until_up(self) -> None:
        """Until it has printed its addresses and its agent is there."""
        until(UP_SECONDS, "`pawl dev` is up", self._has_addresses)
        until(UP_SECONDS, "its agent is connected", lambda: self.rest("POST", "/api/v1/agents/query", {})["data"])

    def _has_addresses(self) -> bool:
        if self._process.poll() is not None:
            raise Mismatch(f"`pawl dev` ended with exit code {self._process.returncode}")
        http = re.search(r"REST and docs +http://(\S+)/docs", self.said())
        grpc = re.search(r"gRPC +(\S+:\d+)", self.said())
        if http is None or grpc is None:
            return False
        self.http, self.grpc = http[1], grpc[1]
        return True

    def rest(self, method: str, path: str, body: dict[str, Any] | str | None = None) -> dict[str, Any]:
        """One call over REST. Raises Mismatch with the answer if it is no success."""
        connection = HTTPConnection(self.http, timeout=STEP_SECONDS)
        try:
            sent = json.dumps(body) if isinstance(body, dict) else body
            headers = {"Content-Type": "application/json"} if sent is not None else {}
            connection.request(method, path, sent.encode() if sent is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise Mismatch(f"{method} {path}: {answer.status} {text}")
        parsed: dict[str, Any] = json.loads(text)
        return parsed

    def stop(self) -> int:
        """Ask it to go, wait, make sure. Returns how many processes had to be ended by force."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return end_what_is_left(self.folder)


def _surroundings(folder: Path) -> dict[str, str]:
    """Our environment without settings that are meant for another Pawl, and with a home of its own."""
    names = {"SERVER_URL", "DATABASE_URL", "PORT"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in names and not name.startswith(("PAWL_", "XDG_"))
    }
    return kept | {"HOME": str(folder)}


def end_what_is_left(folder: Path) -> int:
    """Kill processes that still live in our folder, where the system can tell (Linux). Returns how many there were."""
    found = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve(strict=True).is_relative_to(folder):
                os.kill(int(entry.name), signal.SIGKILL)
                found += 1
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
    return found


def until(seconds: float, what: str, fact: Callable[[], Any]) -> Any:
    """Look until the fact is there; returns it. Raises Mismatch when the time is up."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise Mismatch(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Row:
    """A line of the summary."""

    what: str
    task: str
    status: str
    output: str


def define(screen: Screen, pawl: Pawl, client: BlockingClient) -> tuple[dict[str, Any], Job]:
    """A job over each front."""
    screen.title("Define two jobs, one over each front")
    with screen.doing("POST /api/v1/jobs/item: hello-world-job, a process (bash)"):
        process_job = pawl.rest("POST", "/api/v1/jobs/item", PROCESS_JOB)
    with screen.doing("PluginService.UploadPlugin: plugins/examples/hello-c/plugin.wasm"):
        plugin = client.call(lambda pawl: pawl.plugins.upload(PLUGIN.read_bytes()))
    wanted = Job(
        name="greet",
        config=JobConfig(executor="wasm", wasm=WasmConfig(plugin=plugin.digest, config={"greeting": "Good morning,"})),
    )
    with screen.doing("JobService.CreateJob: greet, the plugin in its sandbox"):
        wasm_job = client.call(lambda pawl: pawl.jobs.create(wanted))
    screen.line(f"hello-world-job {process_job['id']}")
    screen.line(f"greet           {wasm_job.id}  {plugin.name}@{plugin.version}, {plugin.size:,} bytes")
    return process_job, wasm_job


def run_by_hand(screen: Screen, pawl: Pawl, client: BlockingClient) -> list[Row]:
    """Each job over the front that did not define it: there is one path behind both."""
    screen.title("Run each by hand, over the other front")
    with screen.doing("TaskService.CreateTask + WatchTask: hello-world-job"):
        first = client.call(lambda pawl: pawl.tasks.run("hello-world-job"))
        expect("status of hello-world-job", Task.Status.Name(first.status), "SUCCEEDED")
        expect("output of hello-world-job", value_of(first.output), GREETING)
    screen.quote(value_of(first.output))
    with screen.doing("POST /api/v1/jobs/greet:run"):
        body = {"parameters": {"name": "Ada"}}
        second = pawl.rest("POST", f"/api/v1/jobs/greet:run?wait_seconds={STEP_SECONDS:g}", body)
        expect("status of greet", second["status"], "SUCCEEDED")
        expect("output of greet", second.get("output"), {"greeting": "Good morning, Ada"})
    screen.quote(json.dumps(second["output"]))
    return [
        Row("process, by hand", first.id, "SUCCEEDED", str(value_of(first.output)).strip()),
        Row("plugin, by hand", second["id"], second["status"], json.dumps(second["output"])),
    ]


def run_by_schedule(screen: Screen, pawl: Pawl) -> list[Row]:
    """A schedule that fires every second, until two of its tasks have succeeded."""
    screen.title("Run one by a schedule")
    with screen.doing("POST /api/v1/schedules/item: every-second"):
        wanted = {"job_id": "hello-world-job", "name": "every-second", "kind": "interval", "interval_seconds": 1}
        schedule = pawl.rest("POST", "/api/v1/schedules/item", wanted)

    def succeeded() -> list[dict[str, Any]]:
        asked = {"filter": {"schedule_id": {"eq": schedule["id"]}, "status": {"eq": "SUCCEEDED"}}, "order_by": ["id"]}
        rows: list[dict[str, Any]] = pawl.rest("POST", "/api/v1/tasks/page", asked)["data"]
        return rows if len(rows) >= FIRES else []

    with screen.doing(f"waiting for {FIRES} fires"):
        rows = until(STEP_SECONDS, f"{FIRES} tasks of every-second succeeded", succeeded)[:FIRES]
    with screen.doing("POST /api/v1/schedules/every-second/disable"):
        stopped = pawl.rest("POST", "/api/v1/schedules/every-second/disable", {})
        expect("status of every-second", stopped["status"], "DISABLED")
    tasks = [pawl.rest("GET", f"/api/v1/tasks/{row['id']}") for row in rows]
    for task in tasks:
        expect("output of a scheduled task", task["output"]["@text"], GREETING)
        screen.line(f"fire {task['scheduled_at']}  task {task['id']}  started {task['started_at']}")
    return [Row("process, by schedule", task["id"], task["status"], task["output"]["@text"].strip()) for task in tasks]


def look_back(screen: Screen, pawl: Pawl, client: BlockingClient, tasks: list[Row]) -> None:
    """History, logs, and a look at the times of a cron expression."""
    screen.title("Look at what happened")
    with screen.doing("POST /api/v1/task-instances/page"):
        asked = {"filter": {"task_id": {"in": [row.task for row in tasks]}}, "order_by": ["id"]}
        instances = pawl.rest("POST", "/api/v1/task-instances/page", asked)["data"]
        expect("one instance for each task", len(instances), len(tasks))
    screen.line(screen.paint("instance                              agent  attempt  status     wall     peak", "2"))
    for one in instances:
        used = one["metrics"]
        screen.line(
            f"{one['id']}  {one['agent_id']:<5}  {one['attempt']:<7}  {one['status']:<9}"
            f"  {used['wall_seconds'] * 1000:3.0f} ms  {int(used['peak_memory_bytes']) >> 20:4} MiB"
        )
    with screen.doing("TaskService.ReadTaskLogs: the plugin's task"):
        logged = list(client.each(lambda pawl: pawl.tasks.logs(tasks[1].task)))
        expect("the plugin's words are in its log", any("greeting somebody" in one.text for one in logged), True)
    screen.quote("".join(one.text if one.text.endswith("\n") else one.text + "\n" for one in logged))
    with screen.doing("POST /api/v1/schedules:preview: 0 0 12 * * ? in Asia/Shanghai"):
        thought = {"kind": "cron", "cron_expression": "0 0 12 * * ?", "timezone": "Asia/Shanghai"}
        preview = pawl.rest("POST", "/api/v1/schedules:preview", {"schedule": thought, "count": 3})
        expect("noon in Shanghai", {fire[11:] for fire in preview["local_fires"]}, {"12:00:00+08:00"})
    screen.line("  ".join(preview["local_fires"]))


def summary(screen: Screen, pawl: Pawl, jobs: tuple[dict[str, Any], Job], rows: list[Row]) -> None:
    """What there was, and where to go from here."""
    screen.title("Summary")
    print(f"  job   {jobs[0]['id']}  hello-world-job  defined over REST, executor {jobs[0]['config']['executor']}")
    print(f"  job   {jobs[1].id}  greet            defined over gRPC, executor {jobs[1].config.executor}")
    for row in rows:
        print(f"  task  {row.task}  {row.what:<20}  {screen.paint(row.status, '32')}  {row.output}")
    print(
        """
  Everything ran in a control plane of its own, which is gone with its data. To keep one up:

    make dev                                        REST and docs on http://127.0.0.1:8080/docs, gRPC on 127.0.0.1:8081
    .venv/bin/pawl job create hello -- echo hello   then, in another terminal
    .venv/bin/pawl job run hello --wait
    .venv/bin/pawl --help                           README.md says where everything is
"""
    )


def show(screen: Screen, folder: Path) -> None:
    """The whole demo in a folder. Raises what went wrong; nothing is left running either way."""
    pawl = Pawl(folder)
    try:
        try:
            with screen.doing("pawl dev: control plane and agent"):
                pawl.wait_until_up()
            agent = pawl.rest("GET", "/api/v1/agents/dev")
            kinds = ", ".join(executor["name"] for executor in agent["executors"])
            screen.line(f"REST http://{pawl.http}   gRPC {pawl.grpc}   data {folder}")
            screen.line(f"agent {agent['id']}: {agent['slots']} slots, runs {kinds}")
            with BlockingClient(Client(pawl.grpc, namespace="default")) as client:
                jobs = define(screen, pawl, client)
                rows = run_by_hand(screen, pawl, client)
                rows += run_by_schedule(screen, pawl)
                look_back(screen, pawl, client, rows)
            screen.title("Take it down")
            with screen.doing("SIGTERM: the agent says goodbye, then the control plane stops"):
                expect("processes that had to be killed", pawl.stop(), 0)
        except Exception:  # whatever it is, the log is what explains it
            pawl.stop()
            screen.wrong("What `pawl dev` said:")
            screen.quote(pawl.said())
            raise
        summary(screen, pawl, jobs, rows)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # ending what we started is not to be interrupted
        pawl.stop()


def main() -> int:
    """0: all was as it must be. 1: something was not. 130: Ctrl-C."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)  # the one interruption that a loop of asyncio ends its tasks for

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    screen = Screen()
    folder = Path(tempfile.mkdtemp(prefix="pawl-demo-")).resolve()
    try:
        print(screen.paint("Pawl: the main job, for real, on this machine", "1"), end="\n\n", flush=True)
        show(screen, folder)
    except KeyboardInterrupt:
        screen.wrong("Interrupted; everything that was started is gone.")
        return 130
    except Exception as error:
        screen.wrong(f"{type(error).__name__}: {error}")
        return 1
    finally:
        end_what_is_left(folder)  # after a Ctrl-C in the instant in which it started
        shutil.rmtree(folder, ignore_errors=True)
    print(f"  Done in {screen.seconds:.1f} s; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

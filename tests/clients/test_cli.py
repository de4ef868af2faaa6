"""The command line against a real control plane and a real agent."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from pawl.cli import root
from pawl.v1.job_pb2 import Job

from tests.clients.conftest import PAWL, Ran, eventually

Pawl = Callable[..., Ran]


def data(ran: Ran) -> dict[str, object]:
    assert ran.code == 0, ran.err
    return dict(json.loads(ran.out))


def test_a_job_is_created_run_and_its_output_printed(pawl: Pawl, agent: str, name: str) -> None:
    made = pawl("job", "create", name, "--env", "WHO=world", "--", "bash", "-c", "echo hello $WHO; echo aside >&2")
    assert made.code == 0
    ran = pawl("job", "run", name, "--wait")
    assert (ran.code, ran.out) == (0, "hello world\n")
    assert "SUCCEEDED" in ran.err


def test_a_failed_task_is_exit_code_1_and_says_where_its_log_is(pawl: Pawl, agent: str, name: str) -> None:
    pawl("job", "create", name, "--", "bash", "-c", "echo bad >&2; exit 3")
    ran = pawl("job", "run", name, "--wait")
    assert ran.code == 1
    assert "EXIT_3" in ran.err
    assert "pawl task logs " in ran.err


def test_following_puts_the_log_on_stderr_and_the_output_on_stdout(pawl: Pawl, agent: str, name: str) -> None:
    pawl("job", "create", name, "--", "bash", "-c", "echo out; echo aside >&2")
    ran = pawl("job", "run", name, "--follow")
    assert ran.out == "out\n"
    assert "aside" in ran.err


def test_parameters_are_given_as_they_were_written(pawl: Pawl, agent: str, name: str, tmp_path: Path) -> None:
    pawl("job", "create", name, "--", "cat")
    file = tmp_path / "parameters.json"
    file.write_text('{"b": 1.0,  "a": 2}')
    assert pawl("job", "run", name, "-w", "-p", f"@{file}").out == '{"b": 1.0,  "a": 2}'


def test_a_cancelled_task_is_exit_code_130(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--label", "nobody=has-it", "--", "true")
    task = data(pawl("job", "run", name, "-o", "json"))["id"]
    assert pawl("task", "cancel", str(task), "--reason", "enough").code == 0
    ran = pawl("task", "watch", str(task))
    assert ran.code == 130
    assert "enough" in ran.err


def test_the_log_of_a_task_keeps_its_streams_apart(pawl: Pawl, agent: str, name: str) -> None:
    pawl("job", "create", name, "--", "bash", "-c", "echo out; echo aside >&2")
    task = str(data(pawl("job", "run", name, "--wait", "-o", "json"))["id"])
    log = pawl("task", "logs", task)
    assert (log.out, log.err) == ("out\n", "aside\n")
    assert "stderr aside" in pawl("task", "logs", task, "--marked").out


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (2, ("job", "create", "bad name", "--", "true"), "job.name"),
        (2, ("job", "run", "x", "-p", "{bad"), "--parameters"),
        (2, ("job", "run", "x", "-e", "novalue"), "NAME=VALUE"),
        (2, ("job", "run", "x", "--at", "soon"), "--at"),
        (2, ("job", "list", "-o", "xml"), "--output"),
        (2, ("job", "list", "--filter", '{"nope": {"eq": 1}}'), "nope"),
        (2, ("jobs",), "jobs"),
        (2, ("--server", "not an address", "job", "list"), "--server"),
        (3, ("job", "get", "no-such-job"), "no-such-job"),
        (3, ("-n", "no-such-place", "job", "list"), "pawl namespace create"),
        (4, ("namespace", "delete", "default"), "default"),
        (5, ("--server", "127.0.0.1:1", "job", "list"), "pawl dev"),
    ],
)
def test_errors_say_what_is_wrong_and_have_their_exit_code(
    pawl: Pawl, code: int, arguments: tuple[str, ...], said: str
) -> None:
    ran = pawl(*arguments)
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_taken_name_is_a_conflict_with_advice(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--", "true")
    again = pawl("job", "create", name, "--", "true")
    assert again.code == 4
    assert "pawl apply" in again.err


def test_global_options_may_stand_before_and_after(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--", "true")
    before, after = pawl("-o", "json", "job", "get", name), pawl("job", "get", name, "-o", "json")
    assert data(before) == data(after)
    printed = pawl("job", "get", name, "-o", "yaml").out
    assert printed.startswith("id: "), "JSON is YAML too, and not what was asked for"
    assert yaml.safe_load(printed) == data(before)


def test_json_is_what_the_rest_api_prints(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--timeout", "7", "--", "echo", "hi")
    job = data(pawl("job", "get", name, "-o", "json"))
    assert job["status"] == "ENABLED"
    assert job["environment"] == {}
    assert str(job["created_at"]).endswith("Z")
    assert len(str(job["created_at"])) == len("2026-01-31T08:00:00.000000Z")
    assert set(job) <= {field.name for field in Job.DESCRIPTOR.fields}


def test_an_update_changes_what_is_given_and_leaves_the_rest(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--env", "A=1", "--timeout", "7", "--", "echo", "one")
    pawl("job", "update", name, "--max-retries", "2", "--", "echo", "two", "words")
    job = data(pawl("job", "get", name, "-o", "json"))
    config = dict(job["config"])  # type: ignore[call-overload] # JSON
    assert (config["args"], config["timeout"], config["max_retries"]) == (["two", "words"], 7.0, 2)
    assert job["environment"] == {"A": "1"}


def test_ids_are_never_cut_at_80_columns(pawl: Pawl, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = f"{name}-{'x' * (60 - len(name))}"
    pawl("job", "create", long, "--label", "nobody=has-it", "--", "true")
    task = str(data(pawl("job", "run", long, "-o", "json"))["id"])
    listed = pawl("task", "list", "--job", long).out
    assert task in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert "…" not in listed


def test_a_schedule_is_created_previewed_and_deleted(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--", "true")
    assert (
        pawl("schedule", "create", name, "--job", name, "--cron", "0 2 * * *", "--timezone", "Europe/Berlin").code == 0
    )
    fires = data(pawl("schedule", "preview", name, "-c", "3", "-o", "json"))["local_fires"]
    assert all("T02:00:00" in fire for fire in list(fires))  # type: ignore[call-overload] # JSON
    assert pawl("schedule", "update", name, "--every", "30").code == 0
    assert data(pawl("schedule", "get", name, "-o", "json"))["kind"] == "INTERVAL"
    assert pawl("schedule", "delete", name).code == 0


@pytest.mark.parametrize(
    ("every", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("45", 45), ("0.5", 0.5)]
)
def test_an_interval_may_be_written_with_its_unit(pawl: Pawl, name: str, every: str, seconds: float) -> None:
    pawl("job", "create", name, "--", "true")
    made = data(pawl("schedule", "create", name, "--job", name, "--every", every, "--disabled", "-o", "json"))
    assert made["interval_seconds"] == seconds


@pytest.mark.parametrize("every", ["5w", "m", "0", "0s", "-5", "five", "1h30m", "inf", ""])
def test_what_is_no_length_of_time_names_the_option_and_shows_how(pawl: Pawl, name: str, every: str) -> None:
    ran = pawl("schedule", "create", name, "--job", name, f"--every={every}")
    assert ran.code == 2
    assert "--every" in ran.err
    assert "5m" in ran.err


def test_a_body_of_the_rest_api_is_told_which_line_it_lacks(pawl: Pawl, name: str, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"name": name, "config": {"cmd": "true"}}))
    ran = pawl("apply", "-f", str(file))
    assert ran.code == 2
    assert "kind: Job" in ran.err
    file.write_text(json.dumps({"kind": "Job", "name": name, "config": {"cmd": "true"}}))
    assert pawl("apply", "-f", str(file)).code == 0


def test_labels_are_set_and_removed_and_the_agents_own_stay(pawl: Pawl, agent: str) -> None:
    pawl("agent", "label", agent, "gpu=yes", "zone=a")
    labels = dict(data(pawl("agent", "label", agent, "zone-", "-o", "json"))["labels"])  # type: ignore[call-overload] # JSON
    assert labels["gpu"] == "yes"
    assert "zone" not in labels
    assert "sys_os" in labels


def test_a_plugin_is_pushed_and_fetched_byte_for_byte(pawl: Pawl, tmp_path: Path) -> None:
    module = next(Path(__file__).parents[2].glob("plugins/examples/hello-c/*.wasm"))
    digest = pawl("plugin", "push", str(module)).out.strip()
    assert pawl("plugin", "push", str(module)).out.strip() == digest
    assert pawl("plugin", "download", digest, "--to", str(tmp_path / "got.wasm")).code == 0
    assert (tmp_path / "got.wasm").read_bytes() == module.read_bytes()
    assert pawl("plugin", "delete", digest).code == 0


MANIFEST = """
kind: Schedule
name: {name}
job_id: {name}
cron_expression: "0 2 * * *"
---
kind: Job
name: {name}
config: {{cmd: echo, args: [one], timeout: 60}}
environment: {{PORT: "8080"}}
"""


def test_applying_twice_changes_nothing_the_second_time(pawl: Pawl, name: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(MANIFEST.format(name=name))
    assert "would be created" in pawl("apply", "-f", str(file), "--dry-run").out
    assert pawl("job", "get", name).code == 3
    assert pawl("apply", "-f", str(file)).out == f"Job {name} created\nSchedule {name} created\n"
    assert pawl("apply", "-f", str(file)).out == f"Job {name} unchanged\nSchedule {name} unchanged\n"


def test_rules_of_placement_that_leave_out_what_is_usual_are_the_same_when_applied_again(
    pawl: Pawl, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    rules = "required: [{label: zone, values: [a]}], preferred: [{label: ssd, op: exists}], resources: {gpu: 1}"
    file.write_text(f"kind: Job\nname: {name}\nconfig: {{cmd: 'true', placement: {{{rules}}}, max_running: 2}}\n")
    assert "created" in pawl("apply", "-f", str(file)).out
    assert pawl("apply", "-f", str(file)).out == f"Job {name} unchanged\n"
    file.write_text(file.read_text().replace("op: exists", "op: exists, weight: 5"))
    assert "updated" in pawl("apply", "-f", str(file)).out
    file.write_text(file.read_text().replace(", weight: 5", ""))
    assert "updated" in pawl("apply", "-f", str(file)).out
    assert "likes ssd (1)" in pawl("job", "get", name).out


def test_applying_changes_what_the_file_says_and_nothing_else(pawl: Pawl, name: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(MANIFEST.format(name=name))
    pawl("apply", "-f", str(file))
    pawl("job", "update", name, "--max-retries", "4")
    file.write_text(MANIFEST.format(name=name).replace("[one]", "[]").replace("timeout: 60", "timeout: 90"))
    assert "~ config.timeout: 60.0 → 90.0" in pawl("apply", "-f", str(file), "--dry-run").out
    assert f"Job {name} updated" in pawl("apply", "-f", str(file)).out
    config = dict(data(pawl("job", "get", name, "-o", "json"))["config"])  # type: ignore[call-overload] # JSON
    assert (config["args"], config["timeout"], config["max_retries"]) == ([], 90.0, 4)


def test_how_failures_are_tried_again_is_said_at_creation_and_shown(pawl: Pawl, name: str) -> None:
    rules = ("--max-retries", "5", "--retry-interval", "2", "--retry-backoff", "exponential")
    more = ("--retry-max-interval", "60", "--retry-on", "EXIT_75", "--retry-on", "SIGNAL_*", "--fail-on", "TIMEOUT")
    assert pawl("job", "create", name, *rules, *more, "--", "true").code == 0
    shown = " ".join(pawl("job", "get", name).out.split())
    assert "5, 2 s apart, growing (exponential) to 60 s; only on EXIT_75, SIGNAL_*; never on TIMEOUT" in shown
    assert pawl("job", "update", name, "--retry-jitter", "0.25", "--retry-max-elapsed", "600").code == 0
    shown = " ".join(pawl("job", "get", name).out.split())
    assert "to 60 s, up to 25% less by chance, for 600 s; only on" in shown
    assert pawl("job", "update", name, "--retry-backoff", "wild").code == 2


def test_what_a_run_may_use_is_said_at_creation_and_shown(pawl: Pawl, name: str) -> None:
    limits = ("--max-memory-mb", "64", "--max-cpu-percent", "2", "--max-processes", "9", "--max-output-size", "99")
    created = pawl("job", "create", name, *limits, "--", "true")
    assert created.code == 0
    assert "2 % of one core; 2 cores are 200" in created.err
    assert "64 MiB, 0.02 cores, 99 bytes of output, 9 processes" in " ".join(pawl("job", "get", name).out.split())
    more = ("--max-execution-time", "7", "--max-open-files", "99", "--max-cpu-percent", "50")
    assert pawl("job", "update", name, *more).code == 0
    shown = " ".join(pawl("job", "get", name).out.split())
    assert "64 MiB, 0.5 cores, 7 s, 99 bytes of output, 9 processes, 99 open files" in shown
    refused = pawl("job", "update", name, "--max-open-files", "3")
    assert refused.code != 0
    assert "job.config.resource_limits.max_open_files" in refused.err


def test_where_a_job_runs_is_said_at_creation_and_shown(pawl: Pawl, name: str) -> None:
    rules = (
        "--require",
        "memory >= 16",
        "--require",
        "zone in a, b",
        "--require",
        "!spot",
        "--prefer",
        "-5:tier=basic",
    )
    more = ("--strategy", "sticky", "--sticky-key", "${tags.customer}", "--agent", "builder", "--slots", "2")
    assert (
        pawl("job", "create", name, *rules, *more, "--resource", "gpu=1", "--max-running", "3", "--", "true").code == 0
    )
    shown = pawl("job", "get", name).out
    for line in (
        "must have memory>=16", "must have zone in a,b", "must have !spot", "likes tier=basic (-5)", "only on builder",
        "sticky by ${tags.customer}", "takes 2 slots", "takes 1 gpu", "at most 3 at once",
    ):  # fmt: skip
        assert line in shown
    assert pawl("job", "update", name, "--require", "gpu", "--strategy", "random", "--max-running", "0").code != 0
    assert pawl("job", "update", name, "--require", "gpu", "--max-running", "0").code == 0
    shown = pawl("job", "get", name).out
    assert "must have gpu" in shown
    assert "memory" not in shown
    assert "at once" not in shown
    for wrong in (
        ("--require", "> 3"),
        ("--require", "gpu=>2"),
        ("--slots", "9" * 12),
        ("--strategy", "best"),
        ("--resource", "gpu=many"),
    ):
        assert pawl("job", "update", name, *wrong).code == 2
    task = pawl("job", "run", name, "--label", "zone=a", "--output", "json")
    assert json.loads(task.out)["labels"] == {"zone": "a"}
    changed = pawl("task", "update", json.loads(task.out)["id"], "--label", "zone=b", "--output", "json")
    assert json.loads(changed.out)["labels"] == {"zone": "b"}


def test_a_namespace_has_a_cap(pawl: Pawl) -> None:
    assert pawl("namespace", "create", "capped", "--max-running", "5").code == 0
    assert "5 tasks on agents at once" in pawl("namespace", "get", "capped").out
    assert pawl("namespace", "update", "capped", "--description", "x").code == 0
    assert "5 tasks on agents at once" in pawl("namespace", "get", "capped").out
    assert pawl("namespace", "update", "capped", "--max-running", "0").code == 0
    assert "at once" not in pawl("namespace", "get", "capped").out
    assert pawl("namespace", "update", "capped").code == 2
    assert pawl("namespace", "update", "capped", "--max-running", "9" * 12).code == 2


def test_a_wrong_document_is_named_and_nothing_is_applied(pawl: Pawl, name: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(MANIFEST.format(name=name).replace("timeout", "timeuot"))
    ran = pawl("apply", "-f", str(file))
    assert ran.code == 2
    assert "document 2" in ran.err
    assert "config.timeuot" in ran.err
    assert pawl("schedule", "get", name).code == 3


def test_health_info_and_metrics_are_shown(pawl: Pawl) -> None:
    assert "committer" in pawl("health").out
    assert "sqlite" in pawl("info").out
    assert "tasks" in pawl("metrics").out


def test_the_exported_contract_compiles(pawl: Pawl, tmp_path: Path) -> None:
    folder = tmp_path / "protos"
    assert pawl("proto", "export", str(folder)).code == 0
    protos = sorted(str(path.relative_to(folder)) for path in folder.glob("pawl/v1/*.proto"))
    assert len(protos) >= 8
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--python_out={tmp_path}", *protos]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_ctrl_c_leaves_the_task_running_and_says_so(pawl: Pawl, server: str, name: str) -> None:
    pawl("job", "create", name, "--label", "nobody=has-it", "--", "true")
    command = [str(PAWL), "--server", server, "job", "run", name, "--wait"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: bool(data(pawl("task", "list", "--job", name, "-o", "json"))["data"]))
        assert process.stderr is not None
        assert "PENDING" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "pawl task cancel" in said
    assert "Traceback" not in said


def test_help_loads_neither_grpc_nor_the_engine() -> None:
    probe = (
        "import sys; sys.argv = ['pawl', '--help']\n"
        "from pawl.cli import main\n"
        "main()\n"
        "heavy = {'grpc', 'google.protobuf', 'rich.console', 'yaml', 'controlplane', 'agent', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stderr.strip() == "[]"
    for word in ("job", "task", "schedule", "apply", "Exit codes"):
        assert word in ran.stdout


def test_without_the_engine_its_commands_say_what_is_needed(pawl: Pawl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "entry_points", lambda group: ())
    monkeypatch.setattr(root, "_ENGINE_POINTS", {})
    for command in ("dev", "server", "agent"):
        ran = pawl(command)
        assert ran.code == 2
        assert "pip install pawl-engine" in ran.err
    assert pawl("agent", "list").code == 0
    assert "dev " not in pawl("--help").out


def test_another_distribution_adds_a_command(pawl: Pawl, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("hail", f"{__name__}:hail", root.GROUP)
    monkeypatch.setattr(root, "_ENGINE_POINTS", {"hail": point})
    assert "hail" in pawl("--help").out
    assert pawl("hail", "--to", "you").out == "hail you\n"


def hail(to: str = "all") -> None:
    """Greets."""
    sys.stdout.write(f"hail {to}\n")


def test_the_help_says_what_each_command_is_for(pawl: Pawl) -> None:
    commands = pawl("--help").out.partition("Options:")[0]
    assert re.findall(r"^  [a-z][\w-]*\n", commands, re.MULTILINE) == []
    assert "│" not in pawl("config", "--help").out  # no frames: every help looks alike, also in a pipe


def test_starting_an_agent_is_still_pawl_agent(pawl: Pawl) -> None:
    told = pawl("agent", "--help").out
    assert "--slots" in told
    assert "drain" in told


def test_nothing_is_coloured_when_nobody_sees_it(server: str) -> None:
    environment = {**os.environ, "PAWL_SERVER": server}
    ran = subprocess.run([PAWL, "health"], check=True, capture_output=True, timeout=60, env=environment)
    assert b"\x1b" not in ran.stdout + ran.stderr


# ---------------------------------------------------------------- many tasks, dead letters


def test_many_tasks_are_counted_first_and_then_acted_on(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--label", "nowhere=yes", "--", "true")
    for _ in range(3):
        pawl("task", "create", name)
    counted = data(pawl("task", "act", "pause", "--job", name, "--dry-run", "-o", "json"))
    assert (counted["matched"], counted["changed"], counted["dry_run"]) == (3, 3, True)
    assert pawl("task", "list", "--job", name, "--status", "paused").out == ""
    assert data(pawl("task", "act", "pause", "--job", name, "-o", "json"))["changed"] == 3
    refused = " ".join(pawl("task", "act", "retry", "--job", name).out.split())
    assert "found 3 changed 0 cannot retry 3 task" in refused
    assert "is PAUSED" in refused
    assert data(pawl("task", "act", "force-success", "--job", name, "--status", "PAUSED", "-o", "json"))["changed"] == 3
    assert pawl("task", "act", "pause").code == 2  # nothing said is not everything
    assert pawl("task", "act", "explode", "--all").code == 2


@pytest.mark.parametrize(
    "meant",
    [
        ("--job", "", "--status", "PENDING"),
        ("--job", "NAME", "--status", ""),
        ("--job", "NAME", "--status", "PENDING", "--filter", '{"status": {"eq": "PAUSED"}}'),
    ],
)
def test_a_condition_that_is_empty_or_said_twice_does_not_widen_what_is_acted_on(
    pawl: Pawl, name: str, meant: tuple[str, ...]
) -> None:
    pawl("job", "create", name, "--label", "nowhere=yes", "--", "true")
    pawl("task", "create", name)
    ran = pawl("task", "act", "skip", *(name if word == "NAME" else word for word in meant))
    assert ran.code != 0
    assert ran.out == ""
    assert len(data_of(pawl, name, "--status", "PENDING")) == 1


def test_options_and_a_filter_hold_together(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--label", "nowhere=yes", "--", "true")
    pawl("task", "create", name, "--tag", "team=data")
    assert len(data_of(pawl, name, "--tag", "team=data", "--filter", '{"tags.team": {"in": ["data"]}}')) == 1
    assert data_of(pawl, name, "--tag", "team=data", "--filter", '{"tags.team": {"in": ["web"]}}') == []
    assert data_of(pawl, name, "--tag", "team=") == []


def data_of(pawl: Pawl, job: str, *more: str) -> list[object]:
    found = data(pawl("task", "list", "--job", job, *more, "-o", "json"))["data"]
    assert isinstance(found, list)
    return found


def test_a_command_on_many_tasks_can_be_repeated_as_the_same_call(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--label", "nowhere=yes", "--", "true")
    pawl("task", "create", name)
    pause = ("task", "act", "pause", "--job", name, "--request-id", f"pause-{name}", "-o", "json")
    assert data(pawl(*pause))["changed"] == 1
    assert data(pawl(*pause))["changed"] == 0
    assert pawl(*pause, "--reason", "another").code == 4
    replay = ("dead-letter", "replay", "--job", name, "--request-id", f"replay-{name}", "-o", "json")
    assert data(pawl(*replay)) == data(pawl(*replay))


def test_tasks_are_held_let_go_skipped_and_called_done(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--label", "nowhere=yes", "--", "true")
    first, second = (str(data(pawl("task", "create", name, "-o", "json"))["id"]) for _ in range(2))
    held = pawl("task", "pause", first, second, "--reason", "not yet", "-o", "json").out
    assert held.count('"PAUSED"') >= 2
    assert data(pawl("task", "resume", first, "-o", "json"))["status"] == "PENDING"
    assert data(pawl("task", "skip", first, "-o", "json"))["status"] == "SKIPPED"
    assert data(pawl("task", "succeed", first, "-o", "json"))["status"] == "SUCCEEDED"
    assert pawl("task", "skip", first).code != 0


def test_nothing_dead_is_said_so(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--", "true")
    assert "Nothing failed for good" in pawl("dead-letter", "list", "--job", name).err
    answer = data(pawl("dead-letter", "replay", "--job", name, "-o", "json"))
    assert (answer["matched"], answer["changed"]) == (0, 0)
    assert pawl("dead-letter", "purge").code == 2


def test_files_that_a_task_left_are_listed_and_got_whole(pawl: Pawl, agent: str, name: str, tmp_path: Path) -> None:
    script = 'cd "$PAWL_ARTIFACTS_DIR"; mkdir site; echo hello > site/index.html; head -c 3000000 /dev/zero > big'
    assert pawl("job", "create", name, "--artifacts", "--", "bash", "-c", script).code == 0
    task = str(data(pawl("job", "run", name, "--wait", "-o", "json"))["id"])
    listed = pawl("task", "artifacts", task)
    assert re.search(r"big +3,000,000 +application/octet-stream", listed.out), listed
    assert "site/index.html" in listed.out
    got = pawl("artifact", "get", task, "--to", str(tmp_path / "got"))
    assert got.code == 0, got.err
    assert (tmp_path / "got" / "site" / "index.html").read_text() == "hello\n"
    assert (tmp_path / "got" / "big").stat().st_size == 3_000_000
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["big", "site"]
    assert pawl("artifact", "get", task, "site/index.html", "--to", "-").out == "hello\n"
    missing = pawl("artifact", "get", task, "nothing", "--to", str(tmp_path))
    assert (missing.code, "'nothing'" in missing.err) == (3, True)
    assert pawl("job", "update", name, "--no-artifacts").code == 0
    assert "artifacts" not in data(pawl("job", "get", name, "-o", "json"))["config"]  # type: ignore[operator] # an object


def test_progress_is_shown_while_a_task_runs(pawl: Pawl, agent: str, name: str) -> None:
    script = 'echo "42 half of it" > "$PAWL_PROGRESS_FILE"; sleep 1.5'
    pawl("job", "create", name, "--", "bash", "-c", script)
    ran = pawl("job", "run", name, "--wait")
    assert ran.code == 0
    assert "42% half of it" in ran.err
    [task] = json.loads(pawl("task", "list", "--job", name, "-o", "json").out)["data"]
    shown = data(pawl("task", "get", task["id"], "-o", "json"))
    assert shown["progress"] == {"percent": 42.0, "message": "half of it"}


def test_stdout_that_is_declared_json_is_the_output_as_json(pawl: Pawl, agent: str, name: str) -> None:
    pawl("job", "create", name, "--output-type", "application/json", "--", "bash", "-c", "echo '{\"n\": 1}'")
    assert data(pawl("job", "run", name, "--wait", "-o", "json"))["output"] == {"n": 1}
    pawl("job", "update", name, "--", "bash", "-c", "echo none")
    ran = pawl("job", "run", name, "--wait")
    assert ran.code == 1
    assert "INVALID_OUTPUT" in ran.err


def test_the_rest_of_a_log_is_read_from_a_cursor(pawl: Pawl, agent: str, name: str) -> None:
    pawl("job", "create", name, "--", "bash", "-c", "echo one; echo two; echo three")
    task = str(data(pawl("job", "run", name, "--wait", "-o", "json"))["id"])
    entries = [json.loads(one) for one in re.split(r"(?<=})\n(?={)", pawl("task", "logs", task, "-o", "json").out)]
    assert pawl("task", "logs", task, "--after", entries[1]["cursor"]).out == "three\n"


def test_a_job_is_a_function_of_a_worker(pawl: Pawl, agent: str, name: str) -> None:
    made = data(pawl("job", "create", f"{name}.hello", "--function", f"{name}.hello", "-o", "json"))
    assert isinstance(made["config"], dict)
    assert made["config"]["executor"] == "function"
    assert f"function {name}.hello" in pawl("job", "get", f"{name}.hello").out
    waiting = data(pawl("job", "run", f"{name}.hello", "-o", "json"))["id"]
    assert "no connected worker has the function" in pawl("task", "explain", str(waiting)).out


def test_an_executor_that_no_agent_has_is_refused_with_its_options(pawl: Pawl, name: str) -> None:
    refused = pawl("job", "create", name, "--executor", "quantum", "--options", '{"qubits": 3}')
    assert refused.code == 2
    assert "'quantum' is not offered" in refused.err
    assert pawl("job", "create", name, "--executor", "quantum", "--options", "{").code == 2

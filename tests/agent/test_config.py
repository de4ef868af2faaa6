"""The agent's settings: layers, origins, and errors that name the key."""

from pathlib import Path

import pytest
from pawl.settings import SettingsError, without_password
from pawl.signatures import new_private_key, public_key_of

from agent.config import load, name_from_host
from agent.executors.wasm_budget import Ceiling


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[agent]\nname = "file"\nslots = 2\ntask_check_interval = 20\n[labels]\ngpu = "true"\n')
    environ = {"PAWL_AGENT_NAME": "environment", "PAWL_AGENT_MAX_CONCURRENT_TASKS": "3"}
    loaded = load(file, environ, {"agent.name": "flag"})
    rows = {key: (value, origin) for key, value, origin in loaded.rows()}
    assert rows["agent.name"] == ("flag", "flag")
    assert rows["agent.max_concurrent_tasks"] == (3, "environment PAWL_AGENT_MAX_CONCURRENT_TASKS")
    assert rows["agent.task_check_interval"] == (20.0, f"file {file}")
    assert rows["agent.heartbeat_interval"] == (30.0, "default")
    assert rows["labels.gpu"] == ("true", f"file {file}")


def test_the_configuration_of_the_seed_is_taken_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        "[agent]\nheartbeat_interval = 30\ntask_check_interval = 10\nmax_concurrent_tasks = 5\n"
        '[executor]\nwork_dir = "/tmp/work"\ncleanup_enabled = true\ncleanup_interval = 3600\n'
    )
    settings = load(file, {"SERVER_URL": "ws://pawl-server:8081"}, {}).settings
    assert settings.agent.max_concurrent_tasks == 5
    assert settings.work_dir == Path("/tmp/work")
    assert (settings.address.target, settings.address.tls) == ("pawl-server:8081", False)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[agent]\nslotz = 1", "agent.slotz: unknown setting"),
        ("[agents]\nname = 'x'", "unknown section [agents]"),
        ("[telemetry]\notlp_endpoint = 'collector:4318'", "telemetry.otlp_endpoint"),
        ("[telemetry]\nsample_ratio = 0.5", "telemetry.sample_ratio: unknown setting"),
        ("[agent]\nmax_concurrent_tasks = 0", "agent.max_concurrent_tasks"),
        ("[agent]\nmax_concurrent_tasks = 'many'", "agent.max_concurrent_tasks"),
        ("[agent]\nname = 'a b'", "agent.name"),
        ("[agent]\nname = '0198c0de-0000-7000-8000-000000000000'", "agent.name"),
        ("[labels]\nsys_os = 'x'", "labels.sys_os"),
        ("[resources]\ngpu = -1", "resources.gpu"),
        ("[resources]\ngpu = 'some'", "resources.gpu"),
        ("[resources]\nslots = 2", "resources.slots"),
        ("[resources]\n'a b' = 2", "resources.a b"),
        ("[server]\nurl = 'ftp://x'", "server.url"),
        ("[logging]\nlevel = 'loud'", "logging.level"),
        ("[plugins]\ntrusted_keys = ['ed25519:x']", "plugins.trusted_keys"),
        ("[plugins]\nmemory_mb = 0", "plugins.memory_mb"),
        ("[agent]\ntask_user = 'nobody-has-this-name'", "agent.task_user: 'nobody-has-this-name'"),
        ("[executor]\nmax_processes = -1", "executor.max_processes"),
        ("agent = 1", "agent must be a section"),
        ("[agent", "agent.toml"),
    ],
)
def test_a_wrong_setting_is_named_with_its_origin(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"agent\.toml") as caught:
        load(file, {}, {})
    assert named in str(caught.value)


def test_what_plugins_may_use_is_set_like_everything_else(tmp_path: Path) -> None:
    key = public_key_of(new_private_key())
    environ = {"PAWL_PLUGINS_TRUSTED_KEYS": f"{key}, {key}", "PAWL_PLUGINS_MEMORY_MB": "64"}
    settings = load(None, environ, {"plugins.http_calls": 7}).settings
    assert settings.plugins.trusted_keys == (key, key)
    assert (settings.plugins.ceiling.memory_bytes, settings.plugins.ceiling.http_calls) == (64 << 20, 7)
    assert settings.plugins.ceiling.host_calls == Ceiling().host_calls


def test_a_variable_of_the_agent_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(SettingsError, match="PAWL_AGENT_COLOUR"):
        load(None, {"PAWL_AGENT_COLOUR": "red"}, {})


def test_variables_of_the_server_are_not_the_agents_business() -> None:
    load(None, {"PAWL_SERVER_HTTP_PORT": "8080", "PAWL_AGENT_CONFIG": "x", "PAWLOVA": "1"}, {})


@pytest.mark.parametrize("host", ["web-1", "Web 1.local", "_x", "---", "ä", "0198c0de-0000-7000-8000-000000000000"])
def test_any_machine_gives_a_name_that_the_rule_allows(host: str) -> None:
    load(None, {}, {"agent.name": name_from_host(host)})


def test_two_spellings_of_a_setting_in_one_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[agent]\nslots = 2\nmax_concurrent_tasks = 3\n")
    with pytest.raises(SettingsError, match="is given twice, as agent"):
        load(file, {}, {})


def test_what_kubernetes_sets_for_a_service_of_the_agents_name_is_no_setting() -> None:
    environ = {"PAWL_AGENT_SERVICE_HOST": "10.0.0.1", "PAWL_AGENT_PORT": "tcp://10.0.0.1:80"}
    environ |= {"PAWL_AGENT_PORT_80_TCP_ADDR": "10.0.0.1", "PAWL_AGENT_SERVICE_PORT_GRPC": "80"}
    assert load(None, environ, {}).origins == {}


def test_shown_settings_hold_no_password() -> None:
    shown = {
        "postgres://u:se@cr:et@h:5432/d": "postgres://u:***@h:5432/d",
        "postgresql://u@h/d?sslmode=require&password=x": "postgresql://u@h/d?sslmode=require&password=***",
        "postgresql://h/d": "postgresql://h/d",
        "sqlite:////var/lib/a:b@c/pawl.db": "sqlite:////var/lib/a:b@c/pawl.db",
        "localhost:8081": "localhost:8081",
    }
    assert {text: without_password(text) for text in shown} == shown


def test_hosts_that_are_none_are_named_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    for text, key in (
        ('[http]\nprivate_hosts = ["a b"]\n', "http.private_hosts"),
        ('[http.secrets]\nTOKEN = ["https://x"]\n', "http.secrets.TOKEN"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=key):
            load(file, {}, {})
    file.write_text('[http]\nprivate_hosts = ["localhost:*"]\n\n[http.secrets]\nTOKEN = ["*.example.com"]\n')
    assert load(file, {}, {}).settings.http.secrets == {"TOKEN": ("*.example.com",)}


@pytest.mark.parametrize(
    ("file", "environ", "flags", "key", "key_file"),
    [
        ('[server]\nkey = "a"\n', {}, {}, "a", ""),
        ('[server]\nkey = "a"\n', {"PAWL_API_KEY": "b"}, {}, "b", ""),
        ('[server]\nkey = "a"\n', {"PAWL_API_KEY_FILE": "/b"}, {}, "", "/b"),
        ('[server]\nkey_file = "/a"\n', {"PAWL_API_KEY": "b"}, {}, "b", ""),
        ("", {"PAWL_API_KEY": "b"}, {"server.key_file": "/c"}, "", "/c"),
        ("", {"PAWL_API_KEY": "b", "PAWL_SERVER_KEY": "c"}, {}, "c", ""),
    ],
)
def test_of_a_key_and_a_file_with_one_that_of_the_stronger_place_holds(
    tmp_path: Path, file: str, environ: dict[str, str], flags: dict[str, object], key: str, key_file: str
) -> None:
    (tmp_path / "agent.toml").write_text(file)
    server = load(tmp_path / "agent.toml", environ, flags).settings.server
    assert (server.key, server.key_file) == (key, key_file)


def test_a_key_and_a_file_with_one_in_the_same_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="choose one"):
        load(None, {"PAWL_API_KEY": "a", "PAWL_API_KEY_FILE": "/b"}, {})

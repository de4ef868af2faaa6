"""Who may call what: every RPC by every role at every front, against a table that was written by hand.

The table says what the roles are for, not what the code does: an admin everything; an operator jobs, schedules, plugins
and agents, and what a submitter may; a submitter tasks, and what a viewer may; a viewer what changes nothing; an agent
its stream, logs, outputs and plugins. On SQLite alone: who may call is decided before any database is asked.
"""

import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from pawl.v1 import agent_pb2, plugin_pb2

from controlplane.api.methods import Kind
from tests.spec.keyed import METHODS, Caller, Keyed, keyed
from tests.spec.test_parity import filled
from tests.spec.two_fronts import Outcome

ROLES = ("admin", "operator", "submitter", "viewer", "agent")
TABLE = """
                                        admin  operator  submitter  viewer  agent
    JobService/CreateJob                yes    yes       -          -       -
    JobService/GetJob                   yes    yes       yes        yes     -
    JobService/ListJobs                 yes    yes       yes        yes     -
    JobService/UpdateJob                yes    yes       -          -       -
    JobService/DeleteJob                yes    yes       -          -       -
    JobService/EnableJob                yes    yes       -          -       -
    JobService/DisableJob               yes    yes       -          -       -

    TaskService/CreateTask              yes    yes       yes        -       -
    TaskService/BatchCreateTasks        yes    yes       yes        -       -
    TaskService/RunTask                 yes    yes       yes        -       -
    TaskService/GetTask                 yes    yes       yes        yes     -
    TaskService/ListTasks               yes    yes       yes        yes     -
    TaskService/UpdateTask              yes    yes       yes        -       -
    TaskService/DeleteTask              yes    yes       -          -       -
    TaskService/CancelTask              yes    yes       yes        -       -
    TaskService/RetryTask               yes    yes       yes        -       -
    TaskService/PauseTask               yes    yes       yes        -       -
    TaskService/ResumeTask              yes    yes       yes        -       -
    TaskService/SkipTask                yes    yes       yes        -       -
    TaskService/ForceTaskSuccess        yes    yes       -          -       -
    TaskService/ActOnTasks              yes    yes       -          -       -
    TaskService/ListDeadLetters         yes    yes       yes        yes     -
    TaskService/ReplayDeadLetters       yes    yes       -          -       -
    TaskService/PurgeDeadLetters        yes    yes       -          -       -
    TaskService/WatchTask               yes    yes       yes        yes     -
    TaskService/ReadTaskLogs            yes    yes       yes        yes     -
    TaskService/ReadTaskOutput          yes    yes       yes        yes     -
    TaskService/ListTaskArtifacts       yes    yes       yes        yes     -
    TaskService/ReadTaskArtifact        yes    yes       yes        yes     -
    TaskService/ExplainTask             yes    yes       yes        yes     -

    TaskGroupService/CreateTaskGroup    yes    yes       yes        -       -
    TaskGroupService/GetTaskGroup       yes    yes       yes        yes     -
    TaskGroupService/ListTaskGroups     yes    yes       yes        yes     -
    TaskGroupService/WaitTaskGroup      yes    yes       yes        yes     -
    TaskGroupService/CancelTaskGroup    yes    yes       yes        -       -
    TaskGroupService/RetryTaskGroup     yes    yes       yes        -       -
    TaskGroupService/DeleteTaskGroup    yes    yes       -          -       -

    TaskInstanceService/GetTaskInstance   yes  yes       yes        yes     -
    TaskInstanceService/ListTaskInstances yes  yes       yes        yes     -
    TaskInstanceService/ReadOutput      yes    yes       yes        yes     -

    ScheduleService/CreateSchedule      yes    yes       -          -       -
    ScheduleService/GetSchedule         yes    yes       yes        yes     -
    ScheduleService/ListSchedules       yes    yes       yes        yes     -
    ScheduleService/UpdateSchedule      yes    yes       -          -       -
    ScheduleService/DeleteSchedule      yes    yes       -          -       -
    ScheduleService/EnableSchedule      yes    yes       -          -       -
    ScheduleService/DisableSchedule     yes    yes       -          -       -
    ScheduleService/PreviewSchedule     yes    yes       yes        yes     -
    ScheduleService/ListScheduleFires   yes    yes       yes        yes     -

    AgentService/Connect                yes    -         -          -       yes
    AgentService/AppendLogs             yes    -         -          -       yes
    AgentService/PutOutput              yes    -         -          -       yes
    AgentService/PutArtifact            yes    -         -          -       yes
    AgentService/GetAgent               yes    yes       yes        yes     -
    AgentService/ListAgents             yes    yes       yes        yes     -
    AgentService/UpdateAgent            yes    yes       -          -       -
    AgentService/DrainAgent             yes    yes       -          -       -
    AgentService/DeleteAgent            yes    yes       -          -       -

    PluginService/UploadPlugin          yes    yes       -          -       -
    PluginService/CreatePlugin          yes    yes       -          -       -
    PluginService/GetPlugin             yes    yes       yes        yes     yes
    PluginService/DownloadPlugin        yes    yes       yes        yes     yes
    PluginService/ListPlugins           yes    yes       yes        yes     -
    PluginService/ReportPlugin          yes    -         -          -       yes
    PluginService/GrantPlugin           yes    yes       -          -       -
    PluginService/RevokePluginGrant     yes    yes       -          -       -
    PluginService/SignPlugin            yes    yes       -          -       -
    PluginService/DeletePlugin          yes    yes       -          -       -

    NamespaceService/CreateNamespace    yes    -         -          -       -
    NamespaceService/GetNamespace       yes    yes       yes        yes     -
    NamespaceService/ListNamespaces     yes    yes       yes        yes     -
    NamespaceService/UpdateNamespace    yes    -         -          -       -
    NamespaceService/DeleteNamespace    yes    -         -          -       -

    KeyService/CreateKey                yes    -         -          -       -
    KeyService/GetKey                   yes    yes       yes        yes     yes
    KeyService/ListKeys                 yes    yes       yes        yes     yes
    KeyService/RevokeKey                yes    -         -          -       -

    SystemService/GetHealth             yes    yes       yes        yes     yes
    SystemService/GetInfo               yes    yes       yes        yes     yes
    SystemService/GetMetrics            yes    yes       yes        yes     -
    SystemService/GetGatewayStats       yes    yes       yes        yes     -
    SystemService/GetLogLevel           yes    yes       yes        yes     -
    SystemService/UpdateLogLevel        yes    -         -          -       -
    SystemService/ListSettings          yes    yes       yes        yes     -
"""
WITHOUT_A_KEY = {"SystemService/GetHealth"}
# About the whole control plane, so no key that is bound to namespaces may, whatever its roles.
EVERYWHERE_ONLY = {
    "NamespaceService/CreateNamespace",
    "SystemService/GetMetrics",
    "SystemService/GetGatewayStats",
    "SystemService/GetLogLevel",
    "SystemService/UpdateLogLevel",
    "SystemService/ListSettings",
}
# What these are about stands in the request in ways of its own, or is nobody's.
NAMED_OTHERWISE = {
    "AgentService/Connect",
    "PluginService/UploadPlugin",
    "NamespaceService/GetNamespace",
    "NamespaceService/ListNamespaces",
    "NamespaceService/UpdateNamespace",
    "NamespaceService/DeleteNamespace",
    "KeyService/CreateKey",
    "KeyService/GetKey",
    "KeyService/ListKeys",
    "KeyService/RevokeKey",
    "SystemService/GetHealth",
    "SystemService/GetInfo",
}


def rows() -> dict[str, frozenset[str]]:
    """RPC → roles that may call it."""
    found = {}
    for line in filter(None, map(str.split, TABLE.splitlines()[2:])):
        name, *marks = line
        assert len(marks) == len(ROLES), line
        assert set(marks) <= {"yes", "-"}, line
        found[name] = frozenset(role for role, mark in zip(ROLES, marks, strict=True) if mark == "yes")
    return found


MAY = rows()
FRONTS = {name: ("grpc", "rest") if METHODS[name].rules else ("grpc",) for name in MAY if name in METHODS}
CALLS = [(name, front) for name, fronts in FRONTS.items() for front in fronts]
NAMESPACED = [(name, front) for name, front in CALLS if name not in EVERYWHERE_ONLY | NAMED_OTHERWISE]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A control plane that asks for keys."""
    folder = tmp_path_factory.mktemp("roles")
    with keyed(f"sqlite:///{folder}/pawl.db", folder) as found:
        yield found


@pytest.fixture(scope="module")
def callers(plane: Keyed) -> dict[str, Caller]:
    """Somebody for each role, everywhere."""
    return {role: plane.with_role(role) for role in ROLES}


@pytest.fixture(scope="module")
def bound(plane: Keyed) -> Caller:
    """Somebody who may do everything in one namespace, and nothing in another that exists: `elsewhere`."""
    plane.admin.does("NamespaceService/CreateNamespace", namespace={"id": "elsewhere"})
    return plane.with_role("admin", "agent", namespaces=(plane.namespace(),))


@pytest.fixture(scope="module")
def strangers(plane: Keyed) -> dict[str, Caller]:
    """Who may call nothing, by what is said of what they show."""
    revoked, other = plane.new_key("admin"), plane.new_key("admin").secret
    ended = plane.caller(revoked.secret)
    ended.does("SystemService/GetInfo")
    plane.revoke(revoked)
    forged = other[:-7] + ("a" if other[-7] != "a" else "b") + other[-6:]  # its check is wrong now
    return {
        "this server asks for a key: send it as Authorization: Bearer pawl_...": plane.caller(),
        "the key was revoked": ended,
        "the key is not valid": plane.caller(forged),
    }


def request_of(name: str) -> Message:
    """A request that would be answered, if only by saying that there is no such thing."""
    method = METHODS[name]
    return filled(method)


def refused(outcome: Outcome) -> bool:
    """Whether it was refused for who called."""
    return outcome.code in ("UNAUTHENTICATED", "PERMISSION_DENIED")


def test_every_rpc_has_a_row_in_the_table_and_every_row_an_rpc() -> None:
    assert MAY.keys() == METHODS.keys()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("name", "front"), CALLS)
def test_a_role_may_call_what_its_column_says(callers: dict[str, Caller], name: str, front: str, role: str) -> None:
    outcome = callers[role].fronts[front].call(METHODS[name], request_of(name))
    if role in MAY[name]:
        assert not refused(outcome), outcome
        return
    assert (outcome.code, outcome.reason) == ("PERMISSION_DENIED", "FORBIDDEN")
    needed = ", ".join(one for one in ROLES if one in MAY[name])
    said = rf"key:\S+ may not call pawl\.v1\.{name}: it takes one of the roles {needed}, and this key has {role}"
    assert re.fullmatch(said, outcome.text), outcome.text


@pytest.mark.parametrize(("name", "front"), CALLS)
def test_nobody_calls_without_a_living_key(strangers: dict[str, Caller], name: str, front: str) -> None:
    for said, caller in strangers.items():
        outcome = caller.fronts[front].call(METHODS[name], request_of(name))
        if name in WITHOUT_A_KEY:
            assert outcome.code == "OK"
        else:
            assert (outcome.code, outcome.reason, outcome.text) == ("UNAUTHENTICATED", "UNAUTHENTICATED", said)


@pytest.mark.parametrize(("name", "front"), NAMESPACED)
def test_a_bound_key_cannot_tell_a_namespace_that_is_not_its_own_from_none(
    bound: Caller, name: str, front: str
) -> None:
    outcomes = []
    for space in ("elsewhere", "nowhere-at-all"):
        request: Any = request_of(name)
        where = request if METHODS[name].namespace_field else getattr(request, str(METHODS[name].resource_field))
        where.namespace_id = space
        outcome = bound.fronts[front].call(METHODS[name], request)
        assert (outcome.code, outcome.reason) == ("PERMISSION_DENIED", "FORBIDDEN"), outcome
        assert f"may not touch namespace {space!r}" in outcome.text
        outcomes.append(outcome.text.replace(space, "SPACE"))
    assert len(set(outcomes)) == 1


@pytest.mark.parametrize(("name", "front"), [(name, front) for name, front in CALLS if name in EVERYWHERE_ONLY])
def test_what_is_about_all_namespaces_takes_a_key_that_is_good_in_all(bound: Caller, name: str, front: str) -> None:
    outcome = bound.fronts[front].call(METHODS[name], request_of(name))
    assert (outcome.code, outcome.reason) == ("PERMISSION_DENIED", "FORBIDDEN")
    assert "good in all namespaces" in outcome.text


@pytest.mark.parametrize("front", ["grpc", "rest"])
@pytest.mark.parametrize("space", ["elsewhere", "nowhere-at-all"])
def test_a_bound_admin_neither_sees_nor_changes_other_namespaces(bound: Caller, front: str, space: str) -> None:
    for name, fields in (
        ("NamespaceService/GetNamespace", {"id": space}),
        ("NamespaceService/UpdateNamespace", {"namespace": {"id": space, "description": "mine"}}),
        ("NamespaceService/DeleteNamespace", {"id": space}),
    ):
        outcome = bound.call(name, front, **fields)
        assert (outcome.code, outcome.reason) == ("PERMISSION_DENIED", "FORBIDDEN"), (name, outcome)
    listed = bound.call("NamespaceService/ListNamespaces", front).messages[0]
    assert [one.id for one in listed.data] == [bound.does("KeyService/ListKeys").data[0].namespaces[0]]  # type: ignore[attr-defined] # a page


@pytest.mark.parametrize("space", ["elsewhere", "nowhere-at-all"])
def test_streams_name_their_namespace_in_their_first_message_and_are_refused_by_it(bound: Caller, space: str) -> None:
    hello = agent_pb2.Hello(
        protocol_version=1, agent_id="a", state_id="s", generation=1, slots=1, executors=[{"name": "process"}]
    )
    hello.serves.append(space)
    start = plugin_pb2.UploadPluginStart(name="p", version="1", namespace_id=space)
    for name, first in (
        ("AgentService/Connect", agent_pb2.ConnectRequest(seq=1, hello=hello)),
        ("PluginService/UploadPlugin", plugin_pb2.UploadPluginRequest(start=start)),
    ):
        assert METHODS[name].kind in (Kind.BIDI, Kind.CLIENT_STREAM)
        outcome = bound.grpc.call(METHODS[name], first)
        assert outcome.code == grpc.StatusCode.PERMISSION_DENIED.name, (name, outcome)
        assert space in outcome.text

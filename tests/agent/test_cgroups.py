"""Which control groups can be had is found by looking at the system; a copy of its files stands for other systems."""

from __future__ import annotations

import os
from pathlib import Path

from agent import cgroups

V2 = "36 31 0:41 {part} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def machine(root: Path, group: str, mounts: str, *folders: str, **files: str) -> str:
    """A root folder with what this module reads; `files` lie in the group's own folder, dots as `__`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    (root / "proc/self/mountinfo").write_text(mounts)
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / folders[0] / name.replace("__", ".")).write_text(text)
    return f"{root}/"


def service(root: Path, procs: str = "", **more: str) -> str:
    """A service of version 2 to which all controllers were delegated."""
    files = {"cgroup__controllers": "cpu memory pids", "cgroup__subtree_control": "", "cgroup__type": "domain"}
    return machine(
        root, "0::/agent.service\n", V2.format(part="/"), "sys/fs/cgroup/agent.service", cgroup__procs=procs,
        **(files | more),
    )  # fmt: skip


def test_a_service_with_a_group_of_its_own_has_every_controller(tmp_path: Path) -> None:
    found = cgroups.look(service(tmp_path, f"{os.getpid()}\n"))
    assert set(found.trees) == set(cgroups.CONTROLLERS)
    assert {found.says(controller) for controller in cgroups.CONTROLLERS} == {"control group, version 2"}
    assert found.problems == {}


def test_a_group_that_others_live_in_cannot_be_divided(tmp_path: Path) -> None:
    found = cgroups.look(service(tmp_path, f"{os.getpid()}\n1\n"))
    assert found.trees == {}
    assert "other processes live in" in found.problems["memory"]
    assert "Delegate=yes" in found.problems["memory"]


def test_the_family_may_be_moved(tmp_path: Path) -> None:
    assert cgroups.look(service(tmp_path, f"{os.getpid()}\n17\n"), family={17}).problems == {}


def test_a_controller_that_was_not_handed_down_is_named(tmp_path: Path) -> None:
    found = cgroups.look(service(tmp_path, cgroup__controllers="memory"))
    assert set(found.trees) == {"memory"}
    assert "was not given the controller pids" in found.problems["pids"]


def test_a_container_sees_its_own_part_of_the_tree(tmp_path: Path) -> None:
    root = machine(
        tmp_path, "0::/docker/abc\n", V2.format(part="/docker/abc"), "sys/fs/cgroup",
        cgroup__controllers="memory", cgroup__subtree_control="memory",
    )  # fmt: skip
    assert cgroups.look(root).trees["memory"].base == f"{tmp_path}/sys/fs/cgroup"


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    mounts = "".join(
        f"3{at} 31 0:3{at} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
        for at, name in enumerate(("memory", "cpu,cpuacct"))
    )
    root = machine(
        tmp_path, "9:memory:/agent\n8:cpu,cpuacct:/\n7:pids:/\n", mounts, "sys/fs/cgroup/memory/agent",
        "sys/fs/cgroup/cpu,cpuacct",
    )  # fmt: skip
    found = cgroups.look(root)
    assert {name: tree.version for name, tree in found.trees.items()} == {"memory": 1, "cpu": 1}
    assert found.trees["memory"].base == f"{tmp_path}/sys/fs/cgroup/memory/agent"
    assert found.problems == {"pids": "the tree of pids is not mounted"}


def test_a_system_without_control_groups_says_so(tmp_path: Path) -> None:
    found = cgroups.look(f"{tmp_path}/")
    assert found.trees == {}
    assert set(found.problems) == set(cgroups.CONTROLLERS)


def test_a_run_of_version_2_is_one_folder_with_every_bound(tmp_path: Path) -> None:
    found = cgroups.look(service(tmp_path, cgroup__subtree_control="cpu memory pids"))
    base = tmp_path / "sys/fs/cgroup/agent.service"
    ours = base / "pawl-mark"
    run = ours / "1"
    run.mkdir(parents=True)
    files = ("cgroup.procs", "memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max")
    for path in (ours / "cgroup.subtree_control", *(run / name for name in files)):
        path.touch()
    group = cgroups.Group()
    for controller, value in (("memory", 64 << 20), ("cpu", 0.5), ("pids", 9)):
        group.paths[controller] = cgroups.Hierarchy(2, str(run))
        cgroups._set_bound(str(run), 2, controller, value)
    assert [(run / name).read_text() for name in files] == ["", str(64 << 20), "0", "1", "50000 100000", "9"]
    (run / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (run / "pids.events").write_text("max 4\n")
    (run / "cpu.stat").write_text("usage_usec 9\nthrottled_usec 1500000\n")
    assert (group.memory_kills(), group.refused_processes(), group.throttled_seconds()) == (2, 4, 1.5)
    assert found.killing is None


def test_what_a_dead_keeper_left_is_removed(tmp_path: Path) -> None:
    root = service(tmp_path)
    left = tmp_path / "sys/fs/cgroup/agent.service/pawl-mark/1"
    left.mkdir(parents=True)
    cgroups.end_leftovers("mark", root)
    assert not left.parent.exists()

"""The pages tell the truth: their commands work as printed, their links lead somewhere, their tables hold."""

import html
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
UNTRACKED = {"build", "dist", "__pycache__", "node_modules"}
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
PATHLIKE = re.compile(r"`((?:proto|controlplane|agent|plugins|clients|tests|deploy)/[\w./-]*)`")
SETTINGS_ROW = re.compile(r"^\| `([a-z_.]+)` \| `(.*?)` \| .+ \|$", re.MULTILINE)


def pages() -> list[Path]:
    """Every page of the repository."""
    found = []
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name not in UNTRACKED and not name.startswith(".")]
        found += [Path(folder) / file for file in files if file.endswith(".md")]
    return sorted(found)


DEV, SERVER = "bash run", "bash run server"


def runnable(info: str) -> list[Path]:
    """Pages with commands that must work: beside a `pawl dev`, or with the server that they start themselves."""
    return [page for page in pages() if f"```{info}\n" in page.read_text()]


@dataclass(frozen=True)
class Block:
    """Commands, and what the page says they print."""

    commands: str
    printed: str


def blocks(page: Path, info: str) -> list[Block]:
    """The commands of a page in order."""
    fences = list(FENCE.finditer(page.read_text()))
    found = []
    for fence, after in zip(fences, [*fences[1:], None], strict=True):
        if fence["info"] == info:
            printed = after["text"] if after is not None and after["info"] == "text" else ""
            found.append(Block(fence["text"], printed))
    return found


@pytest.mark.timeout(150)
@pytest.mark.parametrize("page", runnable(DEV), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_work_as_printed(page: Path, tmp_path: Path) -> None:
    with pawl_dev(tmp_path) as (http, grpc):
        run(blocks(page, DEV), tmp_path, http, PAWL_SERVER=grpc)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("page", runnable(SERVER), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_that_starts_its_own_server_work_as_printed(page: Path, tmp_path: Path) -> None:
    http, grpc = free_port(), free_port()
    run(
        blocks(page, SERVER),
        tmp_path,
        f"127.0.0.1:{http}",
        PAWL_SERVER=f"127.0.0.1:{grpc}",
        PAWL_SERVER_HOST="127.0.0.1",
        PAWL_SERVER_HTTP_PORT=str(http),
        PAWL_SERVER_GRPC_PORT=str(grpc),
        PAWL_SERVER_DATA_DIR=str(tmp_path / "data"),
    )


def run(commands: list[Block], folder: Path, http: str, **variables: str) -> None:
    """Run them in one shell, from something like a checkout; what they leave running ends with it."""
    script = ["set -eu", "trap 'kill $(jobs -p) 2> /dev/null || true; wait || true' EXIT"]
    for number, block in enumerate(commands):
        script += [f"echo '<<<{number}>>>'", block.commands.replace("localhost:8080", http)]
    environment = os.environ | {"HOME": str(folder), "NO_COLOR": "1"} | variables
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=as_a_checkout(folder / "checkout"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    said = dict(re.findall(r"<<<(\d+)>>>\n(.*?)(?=<<<\d+>>>\n|\Z)", ended.stdout, re.DOTALL))
    for number, block in enumerate(commands):
        expect_printed(block, said[str(number)])


def expect_printed(block: Block, said: str) -> None:
    """Each line that the page shows was printed, `…` being anything; no other errors than those that it shows."""
    for line in block.printed.splitlines():
        wanted = ".*".join(re.escape(piece) for piece in line.split("…"))
        assert re.search(wanted, said), f"{block.commands}\nsays\n{said}\nand not\n{line}"
    if '"error"' not in block.printed:
        assert '{"error":' not in said, f"{block.commands}\nsays\n{said}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(FENCE.sub("", page.read_text())):
        target, _, anchor = link["target"].partition("#")
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {link['target']}"
        if anchor:
            assert anchor in headings(there), f"{page.name} links to {link['target']}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in PATHLIKE.findall(page.read_text()):
        assert (ROOT / name).exists(), f"{page.relative_to(ROOT)} speaks of {name}"


def headings(page: Path) -> set[str]:
    """The anchors that a page has."""
    titles = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", html.unescape(title).lower()).replace(" ", "-") for title in titles}


def test_the_map_names_every_room() -> None:
    text = (ROOT / "README.md").read_text()
    named = {name.rstrip("/") for name in PATHLIKE.findall(text)}
    missing = {folder for folder in rooms() if folder not in named}
    assert not missing, f"README.md, The map: {', '.join(sorted(missing))}"


def rooms() -> Iterator[str]:
    """Folders down to the second level, and the schema's, which hold something of ours."""
    for path in [*ROOT.iterdir(), *(below for top in ROOT.iterdir() if top.is_dir() for below in top.iterdir())]:
        name = path.relative_to(ROOT)
        hidden = any(part.startswith(".") or part in UNTRACKED for part in name.parts)
        if path.is_dir() and not hidden and str(name) != "proto/pawl":  # the contract's package; named by its files
            yield str(name)


def test_the_reading_order_is_one_line_of_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    order = re.search(r"One way to read the code.*?:\n(.*?)\.\n\n", text, re.DOTALL)
    assert order is not None
    files = re.findall(r"`([^`]+)`", order[1])
    assert len(files) >= 7
    assert all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize(("page", "program"), [("controlplane/README.md", "server"), ("agent/README.md", "agent")])
def test_a_table_of_settings_is_what_config_show_prints(page: str, program: str, tmp_path: Path) -> None:
    table = (ROOT / page).read_text().partition(f"<!-- settings: {program} -->")[2].partition("\n\n")[0]
    bare = {"PATH": os.defpath, "HOME": str(tmp_path)}
    shown = subprocess.run(
        [*PAWL, "config", "show", "--output", "json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=bare,
        timeout=30,
    )
    rows = [row for row in json.loads(shown.stdout) if row["program"] == program]
    assert dict(SETTINGS_ROW.findall(table)) == {row["key"]: as_printed(row["value"]) for row in rows}


def as_printed(value: object) -> str:
    """A default as a table shows it."""
    return value if isinstance(value, str) and value else json.dumps(value)


@pytest.mark.parametrize("page", ["clients/README.md", "clients/python/README.md"])
def test_the_tables_of_exit_codes_are_those_of_the_help(page: str) -> None:
    shown = subprocess.run([*PAWL, "--help"], capture_output=True, text=True, check=True, timeout=30)
    codes = re.findall(r"^  (\d+) +\S", shown.stdout.partition("Exit codes:")[2], re.MULTILINE)
    assert len(codes) > 5
    assert re.findall(r"^\| (\d+) \| \S", (ROOT / page).read_text(), re.MULTILINE) == codes


PAWL = [sys.executable, "-c", "import sys; from pawl.cli import main; sys.exit(main())"]


def as_a_checkout(folder: Path) -> Path:
    """A folder that looks like the checkout with its environment, where commands may leave files."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@contextmanager
def pawl_dev(folder: Path) -> Iterator[tuple[str, str]]:
    """`pawl dev` with an agent; its REST and gRPC addresses."""
    log = folder / "log"
    options = ["--http-port", "0", "--grpc-port", "0", "--data-dir", str(folder / "data")]
    with log.open("wb") as out:
        process = subprocess.Popen([*PAWL, "dev", *options], cwd=folder, stdout=out, stderr=out)
    try:
        yield addresses(process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def addresses(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """What it prints when it is up. Waiting on the pidfd between looks ends at once if the process does."""
    watched = os.pidfd_open(process.pid)
    try:
        for _ in range(600):
            said = log.read_text()
            http, grpc = re.search(r"http://(\S+)/docs", said), re.search(r"gRPC +(\S+:\d+)", said)
            if http is not None and grpc is not None:
                return http[1], grpc[1]
            if select.select([watched], [], [], 0.1)[0]:
                break
    finally:
        os.close(watched)
    pytest.fail(f"pawl dev is not up:\n{log.read_text()}")

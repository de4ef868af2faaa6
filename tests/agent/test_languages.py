"""Programs in the languages that people have: each reads its parameters, has its environment, and gives an output."""

import json
import shutil
from pathlib import Path

import pytest

from agent.executors.base import LogStream, Outcome, Payload, Work
from agent.executors.process import ProcessConfig, ProcessExecutor
from agent.keeper import Keeper

JAVA = """
import java.nio.file.*;
public class Main {
    public static void main(String[] args) throws Exception {
        String given = new String(System.in.readAllBytes());
        String out = "{\\"who\\": \\"" + System.getenv("WHO") + "\\", \\"given\\": " + given + "}";
        Files.writeString(Path.of(System.getenv("PAWL_OUTPUT_FILE")), out);
        System.err.println("from java");
    }
}
"""
PYTHON = """
import json, os, sys
given = json.load(sys.stdin)
json.dump({"who": os.environ["WHO"], "given": given}, open(os.environ["PAWL_OUTPUT_FILE"], "w"))
print("from python", file=sys.stderr)
"""
NODE = """
const fs = require("fs");
const given = JSON.parse(fs.readFileSync(0));
fs.writeFileSync(process.env.PAWL_OUTPUT_FILE, JSON.stringify({who: process.env.WHO, given}));
console.error("from node");
"""
BASH = """
printf '{"who": "%s", "given": %s}' "$WHO" "$(cat)" > "$PAWL_OUTPUT_FILE"
echo from bash >&2
"""
PERL = """
local $/;
open(my $out, ">", $ENV{PAWL_OUTPUT_FILE});
print $out qq({"who": "$ENV{WHO}", "given": ) . <STDIN> . "}";
print STDERR "from perl\\n";
"""
LANGUAGES = {
    "bash": ("bash", "script.sh", BASH),
    "python": ("python3", "script.py", PYTHON),
    "node": ("node", "script.js", NODE),
    "java": ("java", "Main.java", JAVA),
    "perl": ("perl", "script.pl", PERL),
}


class Ear:
    """A sink that keeps what is said."""

    def __init__(self) -> None:
        self.said = b""

    def log(self, stream: LogStream, data: bytes) -> None:
        self.said += data

    def progress(self, percent: float, message: str) -> None: ...

    def heartbeat(self) -> None: ...

    def started(self) -> None: ...

    def ended(self) -> None: ...


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_script_in_a_language_of_the_machine(language: str, tmp_path: Path) -> None:
    cmd, name, source = LANGUAGES[language]
    if shutil.which(cmd) is None:
        pytest.skip(f"not on this machine: {cmd}")
    script = tmp_path / name
    script.write_text(source)
    ear = Ear()
    outcome = await _run(tmp_path, cmd, str(script), ear)
    assert outcome.failure is None, ear.said
    assert outcome.output is not None
    assert json.loads(outcome.output.data) == {"who": "Ada", "given": {"n": 1}}
    assert b"from " + language.encode() in ear.said


async def _run(folder: Path, cmd: str, script: str, ear: Ear) -> Outcome:
    keeper = Keeper()
    await keeper.open()
    try:
        executor = ProcessExecutor(keeper, ProcessConfig(folder / "work"))
        await executor.open()
        work = Work(
            namespace_id="default",
            task_id="01900000-0000-7000-8000-000000000001",
            instance_id="instance",
            token=1,
            attempt=1,
            job_name="script",
            executor="process",
            settings={"cmd": cmd, "args": [script]},
            environment={"WHO": "Ada"},
            parameters=Payload(b'{"n": 1}', "application/json"),
        )
        outcome = await (await executor.launch(work, ear)).wait()
        await executor.close()
        return outcome
    finally:
        await keeper.close()

"""The client offers every call of the contract: a new one is missing here until it is."""

import re
from pathlib import Path

import pawl.client
from pawl.contract import files

AGENTS_OWN = {"Connect", "AppendLogs", "PutOutput", "PutArtifact", "ReportPlugin"}
"""What agents alone call, through their own stubs."""
FOR_REST = {"CreatePlugin": "plugins.upload", "RunTask": "tasks.run"}
"""What is there for callers without streams, and what the client has in its place."""


def test_the_client_has_every_call_of_the_contract() -> None:
    sources = Path(pawl.client.__file__).parent.glob("*.py")
    called = {name for source in sources for name in re.findall(r"_stub\.([A-Z]\w+)", source.read_text())}
    ours = (text.decode() for name, text in files() if name.startswith("pawl/v1/"))
    offered = {name for text in ours for name in re.findall(r"^  rpc (\w+)\(", text, re.MULTILINE)}
    assert len(offered) > 50
    assert offered - called - AGENTS_OWN - FOR_REST.keys() == set()

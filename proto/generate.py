#!/usr/bin/env python3
"""Makes everything that is generated from the proto files: Python code, the descriptor set and the OpenAPI document.

    proto/generate.py              write it
    proto/generate.py --check      prove that what is checked in is current; list what is not
    proto/generate.py --lint       buf's rules, format, and what would break users of the last release
    proto/generate.py --format     write the format that --lint asks for
    proto/generate.py --release    keep today's contract as the one that later ones are compared with

Not a build step: the results are checked in, and installing or running Pawl never needs a generator.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from packaging.version import Version

PROTO = Path(__file__).resolve().parent
ROOT = PROTO.parent
SOURCES = "pawl/v1"
COMMON = PROTO / "build" / "common"
RELEASED = PROTO / "released.binpb"

PYTHON_ROOT = Path("clients/python/src")
PACKAGE = PYTHON_ROOT / SOURCES
CONTRACT = PYTHON_ROOT / "pawl/proto" / SOURCES  # what `pawl proto export` writes: the SDK's wheel has it inside
DESCRIPTORS = PACKAGE / "descriptors.binpb"
OPENAPI = Path("controlplane/api/openapi.json")
OPENAPI_MODULE = "controlplane.api.openapi"

PACKAGE_DOC = (
    '"""Messages, stubs and the descriptor set: made by proto/generate.py from proto/pawl/v1, never edited."""\n'
)

# The first version with users to keep whole: before it buf reports what breaks, from it on it refuses.
FIRST_RELEASE = Version("0.1.0")

BUF_FOUND = 100  # buf's exit code for "the rules are broken", apart from "could not look"


def main() -> int:
    """Do what the flags ask for; 0 is success."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="prove that the checked-in results are current")
    mode.add_argument("--lint", action="store_true", help="run buf's lint, format and breaking checks")
    mode.add_argument("--format", action="store_true", help="rewrite the proto files in buf's format")
    mode.add_argument("--release", action="store_true", help="keep today's contract as the last released one")
    arguments = parser.parse_args()

    if not protos():
        print(f"no proto files in proto/{SOURCES}: nothing to do")
        return 0
    lay_common_protos()
    if arguments.lint:
        return lint()
    if arguments.format:
        return buf("format", "--write", ".", "--path", "pawl")
    if arguments.release:
        return image(RELEASED)
    return check() if arguments.check else write()


def protos() -> list[str]:
    """The proto files by the name that they have for the compiler, in a fixed order."""
    return sorted(path.relative_to(PROTO).as_posix() for path in (PROTO / SOURCES).glob("*.proto"))


def lay_common_protos() -> None:
    """Copy google/api, google/rpc and the rest out of the installed wheel: compilers want a folder of protos."""
    distribution = importlib.metadata.distribution("googleapis-common-protos")
    shutil.rmtree(COMMON, ignore_errors=True)
    for file in distribution.files or ():
        if file.suffix == ".proto":
            target = COMMON / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(str(distribution.locate_file(file))), target)


def write() -> int:
    """Generate over the checked-in files; what no proto file makes any more is removed."""
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
        for stale in differences(made):
            if stale in made:
                (ROOT / stale).parent.mkdir(parents=True, exist_ok=True)
                (ROOT / stale).write_bytes(made[stale])
            else:
                (ROOT / stale).unlink()
            print(f"{'wrote' if stale in made else 'removed'} {stale.as_posix()}")
    return 0


def check() -> int:
    """Generate elsewhere and compare."""
    with tempfile.TemporaryDirectory() as folder:
        stale = differences(generate(Path(folder)))
    for path in stale:
        print(f"not current: {path.as_posix()}")
    if stale:
        print("run `make gen` and commit the result")
    return 1 if stale else 0


def generate(folder: Path) -> dict[Path, bytes]:
    """Every generated file's path in the checkout and its bytes. The same protos always give the same bytes."""
    compile_protos(folder)
    made = {
        PYTHON_ROOT / path.relative_to(folder): path.read_bytes()
        for path in sorted((folder / SOURCES).iterdir())
        if path.suffix in {".py", ".pyi"}
    }
    made[PACKAGE / "__init__.py"] = PACKAGE_DOC.encode()
    made |= {CONTRACT / Path(name).name: (PROTO / name).read_bytes() for name in protos()}
    made[DESCRIPTORS] = lean_descriptors((folder / "descriptors.binpb").read_bytes())
    if importlib.util.find_spec(OPENAPI_MODULE) is None:
        print(f"{OPENAPI_MODULE} does not exist: no OpenAPI document made")
    else:
        made[OPENAPI] = openapi(made[DESCRIPTORS])
    return made


def compile_protos(folder: Path) -> None:
    """Run the pinned protoc with the Python plugins.

    protoc's own --pyi_out types the messages: mypy-protobuf would write the same files. Its second plugin is used for
    what protoc has no stubs for: the service classes.
    """
    well_known = Path(str(importlib.util.find_spec("grpc_tools").submodule_search_locations[0])) / "_proto"  # type: ignore[union-attr,index] # a missing generator should fail right here
    outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        *(f"--proto_path={path}" for path in (PROTO, COMMON, well_known)),
        f"--plugin=protoc-gen-mypy_grpc={tool('protoc-gen-mypy_grpc')}",
        *outputs,
        *(f"--descriptor_set_out={folder / 'descriptors.binpb'}", "--include_imports", "--include_source_info"),
        *protos(),
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"the proto files do not compile:\n{result.stderr}")


def lean_descriptors(whole: bytes) -> bytes:
    """Drop the comments of files that are not ours: nine tenths of the size, and nobody reads them from here."""
    files = descriptor_pb2.FileDescriptorSet.FromString(whole)
    for file in files.file:
        if not file.name.startswith(f"{SOURCES}/"):
            file.ClearField("source_code_info")
    return files.SerializeToString(deterministic=True)


def openapi(descriptors: bytes) -> bytes:
    """The OpenAPI document, made by the same code that serves the paths it describes."""
    module: Any = importlib.import_module(OPENAPI_MODULE)
    document = module.document(descriptors)
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def differences(made: dict[Path, bytes]) -> list[Path]:
    """Paths whose checked-in bytes are missing, other, or made by no proto file."""
    folders = (ROOT / PACKAGE, ROOT / CONTRACT)
    present = {path.relative_to(ROOT) for folder in folders for path in folder.glob("*") if path.is_file()}
    changed = {path for path, content in made.items() if not same(ROOT / path, content)}
    return sorted(changed | (present - made.keys()))


def same(path: Path, content: bytes) -> bool:
    """Whether the file exists with exactly this content."""
    return path.is_file() and path.read_bytes() == content


def lint() -> int:
    """buf's three checks; all are run, so that one pass shows everything."""
    failed = buf("lint", ".", "--path", "pawl")
    failed |= buf("format", "--diff", "--exit-code", ".", "--path", "pawl")
    return failed | breaking()


def breaking() -> int:
    """Compare with the last release. Images instead of folders: with two modules buf cannot pair the sides itself."""
    if not RELEASED.exists():
        print("no contract has been released: nothing to compare with")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        today = Path(folder) / "today.binpb"
        failed = image(today) or buf(
            *("breaking", str(today), "--against", str(RELEASED), "--config", "buf.yaml", "--exclude-imports")
        )
    version = Version(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    if failed == BUF_FOUND and version < FIRST_RELEASE:
        print(f"the contract changed since proto/{RELEASED.name}: reported, and refused from {FIRST_RELEASE} on")
        return 0
    return failed


def image(target: Path) -> int:
    """Build our files and what they import into one file that buf can compare."""
    return buf("build", ".", "--path", "pawl", "--exclude-source-info", "--output", str(target))


def buf(*arguments: str) -> int:
    """Run buf in proto/, its output going straight to the reader."""
    return subprocess.run([tool("buf"), *arguments], check=False, cwd=PROTO).returncode


def tool(name: str) -> str:
    """A command of the environment that runs this, whether or not it is activated."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        sys.exit(f"{name} is not installed: run `make setup`")
    return found


if __name__ == "__main__":
    sys.exit(main())

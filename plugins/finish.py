"""The last step of a plugin's build: put its metadata into the module, check the whole and print the digest.

Usage: finish.py MODULE METADATA.json RESULT
"""

import hashlib
import json
import sys
from pathlib import Path

from pawl.wasm import ModuleRefused, validate, with_metadata


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        sys.stderr.write(__doc__ or "")
        return 2
    module, metadata, result = (Path(argument) for argument in arguments)
    try:
        finished = with_metadata(module.read_bytes(), json.loads(metadata.read_text(encoding="utf-8")))
        validate(finished, None)
    except (OSError, json.JSONDecodeError, ModuleRefused) as error:
        sys.stderr.write(f"{module}: {error}\n")
        return 1
    result.write_bytes(finished)
    sys.stdout.write(f"{result}  {len(finished)} bytes  sha256 {hashlib.sha256(finished).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/bin/sh
# Makes the virtual environment $VENV with the first Python that is new enough, or says what is missing.
# Plain sh, because nothing is known yet about the machine.
set -eu

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do
  # Run it rather than look for it: version managers put shims on the PATH that lead nowhere.
  if "$candidate" -c "$new_enough" >/dev/null 2>&1; then
    python=$candidate
    break
  fi
done

if [ -z "${python:-}" ]; then
  echo "Pawl needs Python 3.11 or newer. Found: $("${PYTHON:-python3}" --version 2>&1 || echo none)." >&2
  echo "Install one and say where it is: make setup PYTHON=/path/to/python3.12" >&2
  exit 1
fi

echo "making $VENV with $("$python" --version)"
if "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
  "$python" -m venv "$VENV"
elif command -v uv >/dev/null 2>&1; then
  uv venv --quiet --seed --python "$python" "$VENV"
else
  echo "This Python comes without venv or ensurepip. On Debian and Ubuntu: apt install python3-venv" >&2
  exit 1
fi

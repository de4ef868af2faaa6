#!/bin/sh
# Installs exactly requirements.lock, then both packages of this checkout, into the existing environment $VENV.
# The lock holds every dependency and the build backend, hence --no-deps and --no-build-isolation: nothing un-hashed comes in.
set -eu

python=$VENV/bin/python
ours="--no-deps --no-build-isolation -e clients/python -e ."

with_uv() {
  "$1" pip install --quiet --python "$python" --require-hashes -r requirements.lock &&
    "$1" pip install --quiet --python "$python" $ours
}

with_pip() {
  "$python" -m pip install --quiet --no-compile --require-hashes -r requirements.lock &&
    "$python" -m pip install --quiet $ours
}

# Only the lines of uv itself: half a minute of pip, or three seconds of pip and ten of uv.
locked_uv() {
  awk '/^[a-z]/ { keep = /^uv==/ } keep' requirements.lock >"$VENV/uv.lock"
  "$python" -m pip install --quiet --no-compile --require-hashes -r "$VENV/uv.lock" && "$VENV/bin/uv" --version
}

# uv then trusts the certificates that this machine trusts, as pip does.
export UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}"

echo "installing the locked packages into $VENV"
if command -v uv >/dev/null 2>&1; then
  uv=uv
elif locked_uv >/dev/null 2>&1; then
  uv=$VENV/bin/uv
fi
# Where uv is not to be had, or cannot reach what pip is configured to reach, pip alone does it.
if [ -z "${uv:-}" ] || ! with_uv "$uv"; then
  echo "uv cannot install here: using pip"
  with_pip
fi

# What a start loads is compiled here: uv leaves that to the first start, and one that may not write compiles every time.
env -u PYTHONDONTWRITEBYTECODE "$python" -c \
  "import psycopg, uvloop, pawl.worker, pawl.cli.root, pawl.signatures, controlplane.commands, controlplane.wiring, agent.commands, agent.agent, agent.outfit, agent.keeper_main"

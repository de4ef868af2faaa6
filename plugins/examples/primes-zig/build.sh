#!/bin/sh
# Compiles plugin.zig to $1. `pawl plugin build` calls it and puts the metadata in. ZIG is used if it is set.
set -eu
if [ -n "${ZIG:-}" ]; then zig=$ZIG
elif command -v zig >/dev/null 2>&1; then zig=zig
elif "${PYTHON:-python3}" -c "import ziglang" 2>/dev/null; then zig="${PYTHON:-python3} -m ziglang"
else
  echo "no zig: pip install ziglang, or set ZIG" >&2
  exit 127
fi
# shellcheck disable=SC2086  # these are words
exec $zig build-exe plugin.zig -target wasm32-freestanding -fno-entry -rdynamic -fstrip -O ReleaseSmall "-femit-bin=$1"

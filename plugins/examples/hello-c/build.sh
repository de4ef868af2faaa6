#!/bin/sh
# Compiles plugin.c to $1. `pawl plugin build` calls it and puts the metadata in.
# CC_WASM is used if it is set; else clang with wasm-ld, else zig.
set -eu
flags="-O2 -std=c11 -Wall -Wextra -fno-builtin -nostdlib -Wl,--no-entry -Wl,--strip-all"
has() { command -v "$1" >/dev/null 2>&1; }
if [ -n "${CC_WASM:-}" ]; then cc=$CC_WASM
elif has clang && has wasm-ld; then cc="clang --target=wasm32-unknown-unknown"
elif has zig; then cc="zig cc -target wasm32-freestanding"
elif "${PYTHON:-python3}" -c "import ziglang" 2>/dev/null; then cc="${PYTHON:-python3} -m ziglang cc -target wasm32-freestanding"
else
  echo "no compiler of C for wasm32: pip install ziglang, or apt install clang lld, or set CC_WASM" >&2
  exit 127
fi
# shellcheck disable=SC2086  # these are words
$cc $flags -o "$1" plugin.c

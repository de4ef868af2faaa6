#!/bin/sh
# Builds hello.wasm from hello.c. Needs a C compiler for wasm32: `pip install ziglang` gives one, clang with lld is another.
# PYTHON names the interpreter that has `pawl` (and `ziglang`).
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
cc=${CC_WASM:-"$python -m ziglang cc -target wasm32-freestanding"}
# shellcheck disable=SC2086  # the command has words
$cc -O2 -std=c11 -Wall -Wextra -fno-builtin -nostdlib -Wl,--no-entry -Wl,--strip-all -o hello.raw.wasm hello.c
"${PAWL_PYTHON:-$python}" ../finish.py hello.raw.wasm plugin.json hello.wasm
rm hello.raw.wasm

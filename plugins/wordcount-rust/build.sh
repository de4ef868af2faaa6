#!/bin/sh
# Builds wordcount.wasm. Needs rustc with the target wasm32-unknown-unknown (`rustup target add wasm32-unknown-unknown`).
# RUSTC and RUSTFLAGS are respected; PAWL_PYTHON names the interpreter that has `pawl`.
set -eu
cd "$(dirname "$0")"
# shellcheck disable=SC2086  # flags have words
${RUSTC:-rustc} --edition 2021 --crate-type cdylib --crate-name wordcount --target wasm32-unknown-unknown \
  -C opt-level=z -C codegen-units=1 -C lto -C panic=abort -C link-arg=--strip-all ${RUSTFLAGS:-} -o wordcount.raw.wasm src/lib.rs
"${PAWL_PYTHON:-python3}" ../finish.py wordcount.raw.wasm plugin.json wordcount.wasm
rm wordcount.raw.wasm

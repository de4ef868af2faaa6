#!/bin/sh
# Compiles src/lib.rs to $1, without cargo: a plugin that uses no crates needs none. `pawl plugin build` calls it and puts
# the metadata in. RUSTC is used if it is set; else the first rustc that has the target. Use cargo here once there are crates:
#   cargo build --release --target wasm32-unknown-unknown && cp target/wasm32-unknown-unknown/release/NAME.wasm "$1"
set -eu
target=wasm32-unknown-unknown
for rustc in ${RUSTC:-rustc "$HOME/.cargo/bin/rustc" /usr/bin/rustc}; do
  command -v "$rustc" >/dev/null 2>&1 || continue
  root=$("$rustc" --print sysroot)/lib/rustlib
  [ -n "$(find "$root/$target/lib" -name 'libstd-*.rlib' 2>/dev/null)" ] || continue
  linker=
  [ -n "$(find "$root" -name rust-lld 2>/dev/null)" ] || linker="-C linker=wasm-ld"
  # shellcheck disable=SC2086  # these are words
  exec "$rustc" --edition 2021 --crate-type cdylib --crate-name plugin --target $target -C opt-level=z \
    -C codegen-units=1 -C lto -C panic=abort -C link-arg=--strip-all $linker ${RUSTFLAGS:-} -o "$1" src/lib.rs
done
echo "no rustc with the target $target: rustup target add $target, or apt install rustc libstd-rust-dev-wasm32 lld" >&2
exit 127

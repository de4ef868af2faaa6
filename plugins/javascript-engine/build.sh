#!/bin/sh
# Builds the engine that plugins in JavaScript run on: QuickJS-ng (MIT, its license lies beside the result) with engine.c
# around it. Takes a few minutes; nobody needs to do it to write a plugin.
#
# QUICKJS is a folder with the sources of QuickJS-ng 0.14 (quickjs.c, libregexp.c, libunicode.c, dtoa.c); one way to get it:
#   pip download --no-deps --no-binary :all: edwh-quickjs-ng==0.14.0.3, in it `upstream-quickjs`.
# ZIG is a zig of 0.14 or newer; else `python3 -m ziglang`.
set -eu
cd "$(dirname "$0")"
templates=../../clients/python/src/pawl/plugin_templates
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
  echo 'static const unsigned char prelude_js[] = {'
  od -An -v -tu1 prelude.js | sed 's/  */ /g; s/ $//; s/ \([0-9]\)/\1/; s/ /,/g; s/$/,/'
  echo '0};'
  echo 'static const unsigned prelude_js_len = sizeof prelude_js - 1;'
} > "$work/prelude.h"
# shellcheck disable=SC2086  # words
${ZIG:-${PYTHON:-python3} -m ziglang} cc -target wasm32-wasi -mexec-model=reactor -Oz -DNDEBUG -D_GNU_SOURCE \
  -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_SIGNAL -I"${QUICKJS:?is not set}" -I"$work" -I$templates/c \
  -Wl,--strip-all -Wl,--export=pawl_script -Wl,-z,stack-size=1048576 -o $templates/javascript/engine.wasm engine.c \
  "$QUICKJS/quickjs.c" "$QUICKJS/libregexp.c" "$QUICKJS/libunicode.c" "$QUICKJS/dtoa.c" \
  -lwasi-emulated-process-clocks -lwasi-emulated-signal
ls -l $templates/javascript/engine.wasm

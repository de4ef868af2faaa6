#!/bin/sh
# Compiles plugin.ts to $1. `pawl plugin build` calls it and puts the metadata in. ASC is used if it is set.
# --exportStart: code outside functions must not run as a start function, which Pawl refuses.
set -eu
if [ -n "${ASC:-}" ]; then asc=$ASC
elif [ -x node_modules/.bin/asc ]; then asc=node_modules/.bin/asc
elif command -v asc >/dev/null 2>&1; then asc=asc
else
  echo "no asc: npm install (it reads package.json here), or npm install -g assemblyscript, or set ASC" >&2
  exit 127
fi
exec "$asc" plugin.ts --outFile "$1" -O --noAssert --exportStart _initialize --use abort=pawl/abort

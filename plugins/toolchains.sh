#!/bin/sh
# Puts what pip and npm can bring to compile plugins into a folder: zig (C and Zig) and asc (AssemblyScript).
#   sh plugins/toolchains.sh build/toolchains && PATH=$PWD/build/toolchains/bin:$PATH
# Go (1.24 or newer) and Rust (with the target wasm32-unknown-unknown) are taken from the machine.
set -eu
folder=${1:?the folder to put them into}
mkdir -p "$folder/bin"
folder=$(cd "$folder" && pwd)
if [ ! -x "$folder/bin/zig" ]; then
  "${PYTHON:-python3}" -m venv "$folder/zig"
  "$folder/zig/bin/python" -m pip install --quiet --disable-pip-version-check ziglang==0.17.1
  printf '#!/bin/sh\nexec "%s/zig/bin/python" -m ziglang "$@"\n' "$folder" >"$folder/bin/zig"
  chmod +x "$folder/bin/zig"
fi
if [ ! -e "$folder/bin/asc" ]; then
  if command -v npm >/dev/null 2>&1; then
    npm install --silent --no-audit --no-fund --prefix "$folder/asc" assemblyscript@0.28.20
    ln -s "$folder/asc/node_modules/.bin/asc" "$folder/bin/asc"
  else
    echo "no npm here: without asc" >&2
  fi
fi
for program in go rustc; do
  command -v $program >/dev/null 2>&1 || echo "no $program here" >&2
done

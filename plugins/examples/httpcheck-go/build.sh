#!/bin/sh
# Compiles the package to $1. `pawl plugin build` calls it and puts the metadata in. GO is used if it is set.
set -eu
go=${GO:-go}
if ! command -v "$go" >/dev/null 2>&1; then
  [ -x /usr/local/go/bin/go ] || { echo "no Go: install Go 1.24 or newer (https://go.dev/dl), or set GO" >&2; exit 127; }
  go=/usr/local/go/bin/go
fi
GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 GOTOOLCHAIN=local GOPROXY=${GOPROXY:-off} \
  exec "$go" build -trimpath -buildmode=c-shared -ldflags='-s -w' -o "$1" .

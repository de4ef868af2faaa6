"""The version of this distribution, read from its own metadata."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("pawl-engine")
except PackageNotFoundError:  # a checkout that was never installed
    VERSION = "0.0.0"

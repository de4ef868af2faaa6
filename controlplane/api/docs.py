"""Pages for people: where to look, and the API's documentation, from files of the installed package alone.

Nothing is fetched from elsewhere, and the pages say so to the browser (Content-Security-Policy).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

OPENAPI = Path(__file__).with_name("openapi.json")

_RULES = (
    "default-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
)
_POLICY = "; ".join(_RULES)

_HOME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pawl</title></head>
<body><h1>Pawl</h1><ul>
<li><a href="/docs">API documentation</a></li>
<li><a href="/openapi.json">OpenAPI document</a></li>
<li><a href="/health">Health</a></li>
<li><a href="/metrics">Metrics</a></li>
</ul></body></html>
"""

_DOCS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pawl API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"><link rel="icon" href="/docs/favicon-32x32.png"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""

_START = """window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "none",
});
"""

_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-16x16.png": "image/png",
    "favicon-32x32.png": "image/png",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is sent."""

    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=16)
def page(path: str) -> Page | None:
    """The page at this path, or None."""
    policy = {"content-security-policy": _POLICY}
    if path == "/":
        return Page("text/html; charset=utf-8", _HOME.encode(), policy)
    if path in ("/docs", "/docs/"):
        return Page("text/html; charset=utf-8", _DOCS.encode(), policy)
    if path == "/docs/start.js":
        return Page("text/javascript; charset=utf-8", _START.encode())
    if path == "/openapi.json":
        return Page("application/json", OPENAPI.read_bytes(), {"cache-control": "no-cache"})
    name = path.removeprefix("/docs/")
    if path.startswith("/docs/") and name in _FILES:
        return Page(_FILES[name], (_swagger() / name).read_bytes(), {"cache-control": "max-age=86400"})
    return None


def _swagger() -> Path:
    """The folder of Swagger UI's files; the package itself is never imported."""
    spec = importlib.util.find_spec("swagger_ui")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("swagger-ui-py is not installed")
    return Path(spec.submodule_search_locations[0]) / "static"

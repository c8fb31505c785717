"""Pages for people, made here: no scripts, and nothing from elsewhere, so that they work on a train."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:13px/1.45 ui-monospace,monospace}
pre{overflow:auto;padding:.8rem;border:1px solid #8884;border-radius:6px}
h1{font-size:1.6rem}
h2{font-size:1.1rem;margin-top:2.2rem;border-top:1px solid #8884;padding-top:1rem}
table{border-collapse:collapse}
td,th{text-align:left;vertical-align:top;padding:.2rem 1.2rem .2rem 0}
summary{cursor:pointer}
""".strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

LINKS = {
    "/health/ready": "whether this worker can take work, and what its adapters say",
    "/metrics": "numbers for Prometheus",
    "/modules": "what runs here, and what each route promises",
    "/jobs": "jobs, newest first",
    "/workers": "the living workers",
    "/docs": "the HTTP API (also as /docs/openapi.json)",
    "/docs/asyncapi": "what the modules take from the bus (also as /docs/asyncapi.json)",
}


def index() -> str:
    """What there is."""
    rows = "".join(f'<tr><td><a href="{path}">{path}</a></td><td>{said}</td></tr>' for path, said in LINKS.items())
    return _page("Millrace worker", f"<table>{rows}</table>")


def openapi(document: Mapping[str, Any]) -> str:
    """Every operation of an OpenAPI document."""
    parts = [
        _operation(method, path, operation)
        for path, item in sorted(document["paths"].items())
        for method, operation in item.items()
    ]
    schemas = document.get("components", {}).get("schemas", {})
    parts += [_schema(f"Type {name}", schema) for name, schema in sorted(schemas.items())]
    return _page("HTTP API", '<p><a href="/">all links</a> · <a href="/docs/openapi.json">JSON</a></p>', *parts)


def asyncapi(document: Mapping[str, Any]) -> str:
    """Every channel of an AsyncAPI document, with what it carries."""
    messages = document.get("components", {}).get("messages", {})
    schemas = document.get("components", {}).get("schemas", {})
    parts = [_channel(name, channel) for name, channel in sorted(document.get("channels", {}).items())]
    parts += [_schema(f"Message {name}", message) for name, message in sorted(messages.items())]
    parts += [_schema(f"Payload {name}", schema) for name, schema in sorted(schemas.items())]
    return _page("Messages", '<p><a href="/">all links</a> · <a href="/docs/asyncapi.json">JSON</a></p>', *parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f"<h2><code>{_text(method.upper())} {_text(path)}</code></h2>",
        f"<p>{_text(operation.get('summary', ''))}<br>{_text(operation.get('description', ''))}</p>",
    ]
    if parameters := operation.get("parameters"):
        parts.append(_table(("parameter", "in", "type", ""), map(_parameter, parameters)))
    if body := operation.get("requestBody"):
        parts.append(_details("body", body["content"]["application/json"]["schema"]))
    for status, response in operation.get("responses", {}).items():
        title = f"{status}: {response.get('description', '')}"
        parts.extend(_details(title, media.get("schema", {})) for media in response.get("content", {}).values())
    return "".join(parts)


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, str, str, str]:
    schema = parameter.get("schema", {})
    kinds = [schema, *schema.get("oneOf", ()), *schema.get("anyOf", ())]
    kind = " or ".join(str(one["type"]) for one in kinds if "type" in one)
    return parameter["name"], parameter["in"], kind, parameter.get("description", "")


def _channel(name: str, channel: Mapping[str, Any]) -> str:
    rows = [("address", str(channel.get("address", ""))), ("messages", ", ".join(channel.get("messages", {})))]
    said = channel.get("description") or ""
    return f"<h2><code>{_text(name)}</code></h2><p>{_text(said)}</p>{_table(('', ''), rows)}"


def _schema(title: str, schema: Any) -> str:
    return f"<h2>{_text(title)}</h2>{_json(schema)}"


def _details(title: str, value: Any) -> str:
    return f"<details><summary>{_text(title)}</summary>{_json(value)}</details>"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _json(value: Any) -> str:
    return f"<pre>{_text(msgspec.json.format(msgspec.json.encode(value)).decode())}</pre>"


def _page(title: str, *parts: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><h1>{_text(title)}</h1>"
        f"{''.join(parts)}</body></html>"
    )


def _text(value: str) -> str:
    return html.escape(str(value))

"""Grafana's dashboards, each from a short declaration: `python -m tests.deploy.dashboards` renews them.

    deploy/grafana/declared/jobs.yaml ─▶ deploy/grafana/dashboards/jobs.json

A declaration says what a panel shows; where it stands follows from its row, and how it looks from its type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

ROOT = Path(__file__).parents[2]
DECLARED = ROOT / "deploy" / "grafana" / "declared"
MADE = ROOT / "deploy" / "grafana" / "dashboards"

COLUMNS = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "state-timeline": 8}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
PHASES = [
    ("starting", "blue"),
    ("running", "green"),
    ("draining", "orange"),
    ("closing", "orange"),
    ("closed", "red"),
]
"""What the values of `platform_drain_phase` are called, from 0."""


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query; `legend` names its series by their labels."""

    expr: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`unit` is one of Grafana's. A stat turns red from `alarm` on; a state timeline shows phases of a process."""

    title: str
    description: str
    queries: tuple[Query, ...]
    type: Literal["timeseries", "stat", "state-timeline"] = "timeseries"
    unit: str = "short"
    max: float | None = None
    alarm: float | None = None


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Panels side by side, as wide as each other, `across` of them in a line."""

    title: str
    panels: tuple[Panel, ...]
    across: int = 3


class Dashboard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page; its name is that of its file."""

    title: str
    description: str
    rows: tuple[Row, ...]


def declared() -> list[Path]:
    return sorted(DECLARED.glob("*.yaml"))


def made_from(path: Path) -> Path:
    return MADE / f"{path.stem}.json"


def read(path: Path) -> Dashboard:
    return msgspec.yaml.decode(path.read_bytes(), type=Dashboard)


def rendered(path: Path) -> str:
    """The JSON that Grafana loads."""
    return json.dumps(_page(path.stem, read(path)), indent=2, ensure_ascii=False) + "\n"


def _page(name: str, page: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"millrace-{name}",
        "title": f"Millrace: {page.title}",
        "description": page.description,
        "tags": ["millrace"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "title": "Millrace", "tags": ["millrace"], "keepTime": True}],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                    "hide": 0,
                    "includeAll": False,
                    "multi": False,
                    "options": [],
                    "refresh": 1,
                    "regex": "",
                }
            ]
        },
        "panels": [{"id": number, **panel} for number, panel in enumerate(_placed(page.rows), start=1)],
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Each row is a title, then its panels, line by line."""
    y = 0
    for row in rows:
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        yield {"type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        for begin in range(0, len(row.panels), row.across):
            line = row.panels[begin : begin + row.across]
            width, height = COLUMNS // len(line), max(HEIGHTS[panel.type] for panel in line)
            for number, panel in enumerate(line):
                yield _panel(panel) | {"gridPos": {"h": height, "w": width, "x": number * width, "y": y}}
            y += height


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.max is not None:
        defaults["max"] = panel.max
    if panel.alarm is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.alarm}]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}, "color": {"mode": "thresholds"}}
    if panel.type == "state-timeline":
        defaults["mappings"] = [{"type": "value", "options": _phases()}]
    return {
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [_target(number, query) for number, query in enumerate(panel.queries)],
    }


def _phases() -> dict[str, Any]:
    return {str(n): {"index": n, "text": text, "color": color} for n, (text, color) in enumerate(PHASES)}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.type == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    tooltip = {"tooltip": {"mode": "multi", "sort": "desc"}} if panel.type == "timeseries" else {}
    return {"legend": legend, **tooltip}


def _target(number: int, query: Query) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
    }


if __name__ == "__main__":
    for declaration in declared():
        made = made_from(declaration)
        if not made.exists() or made.read_text(encoding="utf-8") != rendered(declaration):
            made.write_text(rendered(declaration), encoding="utf-8")
            print(f"wrote {made.relative_to(ROOT)}")

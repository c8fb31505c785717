"""What the module shows, and that it costs a worker's start nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from modules.data_quality.dialect import readable
from modules.data_quality.shelf import sparkline

ROOT = Path(__file__).parents[2]


def test_a_sparkline() -> None:
    assert sparkline([1, 2, None, 3]) == "▁▅ █"
    assert sparkline([2, 2]) == "▁▁"
    assert sparkline([None]) == " "


def test_a_statement_is_shown_with_its_values() -> None:
    text = "a = $1::text and b > $2::bigint and c = $3::date and d = $4 and e = '$10'"
    shown = "a = 'it''s $2'::text and b > 5::bigint and c = '2026-01-15'::date and d = 'True' and e = '$10'"
    assert readable(text, ["it's $2", 5, "2026-01-15", True]) == shown


def test_importing_the_module_is_light() -> None:
    """A worker starts before DuckDB would be imported."""
    code = "import sys, modules.data_quality; sys.exit('duckdb' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

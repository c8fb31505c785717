"""What a number means: the verdict on a check, and on a suite."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from contracts.data_quality import CheckResult, QualityReport, Verdict
from contracts.quality import AnyCheck, kind_of, limits_of, name_of
from contracts.redaction import without_secrets
from contracts.threshold import threshold

LONGEST_WHY = 500

WORST: tuple[Verdict, ...] = ("error", "fail", "warn", "pass")


def judged(source: str, check: AnyCheck, value: Fraction, of: int | None, *, why: str = "") -> CheckResult:
    """The result of a check that came to `value`."""
    warn, fail = limits_of(check)
    whole = None if of is None else Fraction(of)
    verdict: Verdict = "pass"
    if fail is not None and threshold(fail).holds(value, whole):
        verdict = "fail"
    elif warn is not None and threshold(warn).holds(value, whole):
        verdict = "warn"
    return result(source, check, verdict, value=float(value), of=of, why=why)


def result(
    source: str, check: AnyCheck, verdict: Verdict, *, value: float | None = None, of: int | None = None, why: str = ""
) -> CheckResult:
    """The result of a check, whatever it came to."""
    warn, fail = limits_of(check)
    return CheckResult(
        source=source,
        name=name_of(check),
        check=kind_of(check),
        verdict=verdict,
        value=value,
        of=of,
        warn=warn,
        fail=fail,
        why=without_secrets(why)[:LONGEST_WHY],
    )


def verdict_of(results: Sequence[CheckResult]) -> Verdict:
    """Of all together: the worst; what could not be checked fails them."""
    worst = min((one.verdict for one in results), key=WORST.index)
    return "fail" if worst == "error" else worst


def in_words(report: QualityReport) -> str:
    """Why a suite failed: the first checks that did."""
    bad = [one for one in report.checks if one.verdict in ("fail", "error")]
    told = [f"  - {one.source}: {one.name}: {_number(one)}" for one in bad[:10]]
    more = [f"  - and {len(bad) - 10} more"] if len(bad) > 10 else []
    head = (
        f"suite {report.suite}{f' of {report.date}' if report.date else ''}: {len(bad)} of {len(report.checks)} checks"
    )
    last = f"see `millrace quality failures {report.suite}`"
    return "\n".join([f"{head} failed:", *told, *more, last])


def _number(one: CheckResult) -> str:
    if one.verdict == "error" or one.value is None:
        return one.why
    of = f" of {one.of:,}" if one.of is not None else ""
    unit = " s" if one.check == "freshness" else ""
    return f"{one.value:,.10g}{unit}{of} (it fails {one.fail})"

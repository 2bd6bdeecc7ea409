"""From the rows of the zoo to the numbers and the tables that are reported."""

from collections.abc import Sequence
from typing import Any

from bench.core.statistics import wilson
from bench.evaluation.alarms import read_alarms
from benchmarks.alarms.measure import Row

#: By how much a worst case may exceed the truth.
GAP = 0.05


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Sensitivity and false-alarm rate of each alarm and of all together, and the gaps to the truth."""
    hidden = [row for row in rows if not row.honest]
    overstated = [row for row in hidden if row.refused or row.before - row.truth > GAP]
    honest = [row for row in rows if row.honest]
    names = [alarm.name for alarm in read_alarms({}, 10)]
    return {
        "alarms": {name: _rates(hidden, overstated, honest, name) for name in [*names, ""]},
        "gaps": {
            kind: {
                "largest_before": max(
                    (row.before - row.truth for row in some if not row.refused), default=0.0
                ),
                "largest_after": max((row.after - row.truth for row in some if not row.refused), default=0.0),
                "over_before": _over(some, "before"),
                "over_after": _over(some, "after"),
            }
            for kind, some in (("hidden", hidden), ("honest", honest))
        },
    }


def _over(rows: Sequence[Row], which: str) -> list[str]:
    return [row.name for row in rows if not row.refused and getattr(row, which) - row.truth > GAP]


def _rates(
    hidden: Sequence[Row], overstated: Sequence[Row], honest: Sequence[Row], name: str
) -> dict[str, Any]:
    """Of one alarm, or of all together where the name is empty."""

    def rate(rows: Sequence[Row]) -> dict[str, Any]:
        count = sum(bool(row.refused) or (name in row.raised if name else bool(row.raised)) for row in rows)
        low, high = wilson(count, len(rows)) if rows else (0.0, 1.0)
        return {"raised": count, "of": len(rows), "low": low, "high": high}

    return {"hidden": rate(hidden), "overstated": rate(overstated), "honest": rate(honest)}


def markdown(rows: Sequence[Row]) -> str:
    """The tables of the documentation."""
    found = summary(rows)
    hidden = sum(not row.honest for row in rows)
    lines = [f"{hidden} networks that hide something, {len(rows) - hidden} honest ones.", ""]
    lines += ["| alarm | hidden | of these overstated | honest |", "| --- | --- | --- | --- |"]
    for name, rates in found["alarms"].items():
        cells = " | ".join(_cell(rates[kind]) for kind in ("hidden", "overstated", "honest"))
        lines.append(f"| {name or '**any**'} | {cells} |")
    lines += ["", "| network | PGD-20 | worst case | after checks | truth | raised |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        if row.refused:
            lines.append(f"| {row.name} | | | | | refused: {row.refused} |")
            continue
        numbers = " | ".join(f"{100 * value:.1f}" for value in (row.pgd20, row.before, row.after, row.truth))
        lines.append(f"| {row.name} | {numbers} | {', '.join(row.raised) or 'none'} |")
    for kind, gaps in found["gaps"].items():
        lines.append(
            f"\n{kind}: worst case minus truth is at most {100 * gaps['largest_before']:.1f} points before and "
            f"{100 * gaps['largest_after']:.1f} after the extra checks; over {100 * GAP:.0f} points after: "
            f"{', '.join(gaps['over_after']) or 'none'}"
        )
    return "\n".join(lines)


def _cell(rate: dict[str, Any]) -> str:
    if not rate["of"]:
        return "–"
    share = 100 * rate["raised"] / rate["of"]
    return f"{rate['raised']}/{rate['of']} = {share:.0f} % ({100 * rate['low']:.0f}–{100 * rate['high']:.0f})"

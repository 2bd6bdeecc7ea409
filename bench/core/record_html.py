"""A record as HTML, for notebooks: what it is about, its alarms, its scores."""

from html import escape

from bench.core.names import CLEAN_ACCURACY, WORST_CASE, is_accuracy
from bench.core.record import Alarm, Record, Score
from bench.core.record_text import score_text
from bench.core.standing import standing
from bench.core.values import printable

#: Colors of an alarm that is raised, and of text that stands back; both are readable on white and on black.
RAISED, FAINT = "#d03030", "#888888"


def html(record: Record) -> str:
    """Title, alarms, how the record stands, and every score with its interval; those of no accuracy are folded."""
    threat = f"{record.threat.norm} ε={record.threat.eps}"
    title = f"{record.defense.name} · {record.model} · {record.dataset.name} · {threat}"
    about = (
        f"battery {record.battery.name} {record.battery.version}, seed {record.seed}, "
        f"{record.dataset.evaluated_size} test images attacked"
    )
    first = sorted((name for name in record.metrics if is_accuracy(name)), key=_place)
    others = [name for name in record.metrics if name not in first]
    stands = standing(record)
    more = _table(record, others)
    if first and others:
        more = f"<details><summary>{len(others)} more score{'s'[: len(others) > 1]}</summary>{more}</details>"
    return (
        f"<div><strong>{_text(title)}</strong><br>{_faint(about)}{_alarms(record.alarms)}"
        f"{f'<br>{_text(str(stands))}' if stands.raised else ''}"
        f"{_table(record, first)}{more}</div>"
    )


def _place(name: str) -> int:
    """The worst case first, then clean accuracy, then the attacks as they ran; sorting keeps their order."""
    return {WORST_CASE: 0, CLEAN_ACCURACY: 1}.get(name, 2)


def _table(record: Record, names: list[str]) -> str:
    if not names:
        return ""
    heading = "".join(f'<th style="text-align:left">{each}</th>' for each in HEADINGS)
    rows = "".join(_row(name, record.metrics[name]) for name in names)
    return f"<table><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table>"


#: Of the table of scores.
HEADINGS = ("metric", "value", "95 % interval", "n", "note")


def _alarms(alarms: list[Alarm]) -> str:
    raised = [alarm for alarm in alarms if alarm.raised]
    unknown = [alarm.name for alarm in alarms if alarm.raised is None]
    lines = [
        f'<strong style="color:{RAISED}">alarm: {_text(alarm.name)}</strong> {_text(alarm.message)}'
        for alarm in raised
    ]
    if not raised:
        some = len(unknown) < len(alarms)
        lines = [
            _faint(
                "no alarm raised, which is no proof of robustness" if some else "no alarm could be checked"
            )
        ]
    if unknown and len(unknown) < len(alarms):
        lines.append(_faint(f"not checked: {', '.join(unknown)}"))
    return "".join(f"<br>{line}" for line in lines)


def _row(name: str, score: Score) -> str:
    interval = ""
    if score.low is not None and score.high is not None:
        interval = f"{score_text(score, score.low)} – {score_text(score, score.high)}"
    cells = (name, score_text(score, score.value), interval, str(score.n or ""), score.reason)
    return "<tr>" + "".join(f'<td style="text-align:left">{_text(cell)}</td>' for cell in cells) + "</tr>"


def _faint(text: str) -> str:
    return f'<span style="color:{FAINT}">{_text(text)}</span>'


def _text(text: str) -> str:
    return escape(printable(text))

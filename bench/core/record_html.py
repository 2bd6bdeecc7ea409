"""A record as HTML, for notebooks: what it is about, its alarms, its scores."""

from html import escape

from bench.core.record import Alarm, Record, Score
from bench.core.record_text import score_text
from bench.core.values import printable

#: Colors of an alarm that is raised, and of text that stands back; both are readable on white and on black.
RAISED, FAINT = "#d03030", "#888888"


def html(record: Record) -> str:
    """Title, alarms, and a table of every score with its interval."""
    threat = f"{record.threat.norm} ε={record.threat.eps}"
    title = f"{record.defense.name} · {record.model} · {record.dataset.name} · {threat}"
    about = (
        f"battery {record.battery.name} {record.battery.version}, seed {record.seed}, "
        f"{record.dataset.evaluated_size} test images attacked"
    )
    rows = "".join(_row(name, score) for name, score in record.metrics.items())
    heading = "".join(f'<th style="text-align:left">{each}</th>' for each in HEADINGS)
    return (
        f"<div><strong>{_text(title)}</strong><br>{_faint(about)}{_alarms(record.alarms)}"
        f"<table><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


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

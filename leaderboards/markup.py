"""The small pieces that pages have thousands of, as markup; every text is escaped.

A template takes several times as long to fill such a piece.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from markupsafe import Markup, escape

from bench.charts.numbers import typeset
from bench.core.record import Score
from leaderboards.board import Board
from leaderboards.entry import Entry, Summary
from leaderboards.paper import Paper
from leaderboards.rank import Rank
from leaderboards.text import (
    bar_path,
    beginning,
    breakable,
    count,
    interval,
    p_value,
    quantity,
    short_words,
    unit_shown,
)
from leaderboards.text import cut as shorter

#: Longer names are cut, with the rest on hover.
LONGEST_NAME = 60
#: Longer notes on a score of several seeds have a line of their own.
_LONG_NOTE = 40
#: What is better of a score, in a word.
_BETTER = {True: "higher", False: "lower", None: "neither"}


# Pages repeat their texts: names of scores, reasons, networks.
@lru_cache(4096)
def text(content: str) -> str:
    """A text as a page shows it, escaped."""
    return str(escape(short_words(content)))


@lru_cache(4096)
def name(content: str) -> Markup:
    """A name that may break within a line."""
    return Markup("<wbr>".join(map(text, breakable(content))))


@lru_cache(4096)
def cut(content: str) -> Markup:
    """A name that fits in a table, with the rest on hover."""
    if len(content) <= LONGEST_NAME:
        return name(content)
    return Markup(f'<span title="{text(content)}">{name(shorter(content))}</span>')


def coded(content: str) -> Markup:
    """Prose in which words between backticks are code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", text(content)))


def command(content: str) -> Markup:
    """A command whose lines do not break within the name of an option."""
    return Markup(re.sub(r"(?<=\s)--?[\w-]{1,30}(?!\S)", r"<span>\g<0></span>", text(content)))


@lru_cache(4096)
def missing(reason: str) -> Markup:
    """A dash in the place of a value, and why."""
    reason = typeset(reason)
    return Markup(
        f'<span class="none" title="{text(reason)}"><span aria-hidden="true">—</span>'
        f'<span class="hidden">no value: {text(reason)}</span></span>'
    )


def _number(value: float, of: Summary | Score, metric: str) -> str:
    """A value of a score with the digits that the interval of the score warrants."""
    return quantity(value, metric, of.unit, (of.low, of.high))


def _spread(summary: Summary, metric: str) -> str:
    """The spread of a score with the digits of the score; without an interval, those that it warrants itself."""
    mean, std = summary.mean or 0.0, summary.std or 0.0
    around = (mean - std, mean + std) if summary.low is None else (summary.low, summary.high)
    return quantity(std, metric, summary.unit, around)


def score(summary: Summary | None, metric: str, in_doubt: bool = False) -> Markup:
    """A value with its interval and its spread over seeds, or why there is none."""
    if summary is None:
        return missing("not in the record")
    if summary.mean is None:
        return missing(summary.reason)
    value = _number(summary.mean, summary, metric)
    found = f"({value})" if in_doubt else value
    between = interval(summary.low, summary.high, metric, summary.unit)
    if between:
        found += f"<small>{between}</small>"
    if summary.std is not None:
        found += f'<small class="spread">± {_spread(summary, metric)}</small>'
    return Markup(found)


def lines(summary: Summary | None, metric: str) -> Markup:
    """As `score`, in lines of one text, which the style sheet tells apart: half the nodes of a long board."""
    if summary is None or summary.mean is None:
        return score(summary, metric)
    found = [
        _number(summary.mean, summary, metric),
        interval(summary.low, summary.high, metric, summary.unit),
        "" if summary.std is None else f"±\N{NO-BREAK SPACE}{_spread(summary, metric)}",
    ]
    return Markup("\n".join(filter(None, found)))


def bar(summary: Summary | None, reach: int) -> Markup:
    """The interval of an accuracy as a small drawing; nothing where there is none."""
    if summary is None or summary.mean is None:
        return Markup()
    return Markup(
        '<svg class=iv viewBox="0 0 100 12" preserveAspectRatio=none aria-hidden=true>'
        f'<path d="{bar_path(summary, reach)}"/></svg>'
    )


def place(rank: Rank) -> Markup:
    """The place of an entry."""
    if rank.in_doubt:
        return missing("in doubt, as a raised alarm has no answer")
    if rank.place is None:
        return missing("no worst-case accuracy")
    if not rank.shared:
        return Markup(str(rank.place))
    paired = rank.method == "paired" and rank.p_value is not None
    title = f' title="{text(p_value(rank.p_value))}"' if paired and rank.p_value is not None else ""
    by_intervals = '<sup title="compared by intervals">i</sup>' if rank.method == "intervals" else ""
    return Markup(
        f"<span{title}>{rank.place}<span aria-hidden=true>=</span><span class=hidden> shared</span></span>"
        f"{by_intervals}"
    )


def paper_link(paper: Paper | None) -> Markup:
    """The name of a paper, which leads to it."""
    if paper is None:
        return Markup("—")
    if not paper.link:
        return cut(paper.words)
    return Markup(f'<a href="{escape(paper.link)}">{cut(paper.words)}</a>')


def badges(entry: Entry) -> Markup:
    """The alarms of an entry as a board shows them."""
    raised = entry.raised
    if raised:
        shown = "".join(f'<li class="alarm">{text(alarm.label)}</li>' for alarm in raised[:2])
        shown += f'<li class="alarm">+{len(raised) - 2}</li>' if len(raised) > 2 else ""
        found = (
            f'<ul class="badges">{shown}</ul>\n<span class="alarm short">{count(len(raised), "alarm")}</span>'
        )
    else:
        found = "<span class=quiet>none</span>" if entry.alarms else missing("the record holds no alarms")
    if entry.in_doubt or entry.answers:
        word = "in doubt" if entry.in_doubt else "answered"
        found += f"<small>{word}: {text(typeset(beginning(entry.answers)))}</small>"
    if entry.unchecked:
        found += f"<small>{len(entry.unchecked)} not checked</small>"
    return Markup(found)


def board_rows(board: Board, papers: Mapping[str, Paper]) -> Markup:
    """The rows of a board; without ends of cells and quotes around words, a long board is an eighth smaller.

    Args:
        papers: entry page → the paper of its method.
    """
    rows = (_board_row(board, at, entry, papers.get(entry.page)) for at, entry in enumerate(board.on_page))
    return Markup("".join(rows))


def _board_row(board: Board, at: int, entry: Entry, paper: Paper | None) -> str:
    rank, (band, starts) = board.ranks[at], board.bands[at]
    classes = " ".join(
        word for word, has in (("b1", band % 2), ("starts", starts), ("shares", rank.shared)) if has
    )
    about = (
        name(shorter(entry.model)),
        text(shorter(board.qualifiers[entry.page])),
    )
    cells = [
        f'<tr class="{classes}">' if classes else "<tr>",
        f"<td class=rank>{place(rank)}",
        f'<th scope=row class=name><a href="../entries/{entry.page}.html">{cut(entry.defense.name)}</a>'
        f"<small>{' · '.join(filter(None, about))}</small>",
    ]
    for kind, column in zip(("worst", "clean", "cost"), board.main_columns, strict=True):
        summary = entry.scores.get(column.metric)
        shown = score(summary, column.metric)
        if kind == "worst" and entry.in_doubt:
            doubted = score(summary, column.metric, in_doubt=True)
            shown = Markup(
                f'<span class="doubt" title="in doubt: a raised alarm has no answer">{doubted}</span>'
            )
        cells.append(f"<td class={kind}>{bar(summary, board.reach) if kind == 'worst' else ''}{shown}")
    cells.append(f"<td class=alarms-cell>{badges(entry)}")
    cells.append(f"<td class=t-network>{cut(entry.model)}")
    cells += [
        f"<td class=c-{column.key}>{lines(entry.scores.get(column.metric), column.metric)}"
        for column in board.more_columns
    ]
    cells.append(f"<td class=t-seeds>{len(entry.results)}")
    cells.append(f"<td class=t-weights>{entry.record.parameters:,}")
    cells.append(f"<td class=t-date>{entry.date}<td class=t-paper>{paper_link(paper)}")
    return "".join(cells) + "\n"


def score_rows(entry: Entry, metrics: Iterable[str], title_of: Callable[[str], str]) -> Markup:
    """The rows of a table of scores, with a column for each seed where there are several."""
    return Markup("".join(_score_row(entry, metric, title_of(metric)) for metric in metrics))


def _score_row(entry: Entry, metric: str, title: str) -> str:
    summary, several = entry.scores[metric], len(entry.results) > 1
    value = missing(summary.reason) if summary.mean is None else _number(summary.mean, summary, metric)
    between = interval(summary.low, summary.high, metric, summary.unit) or missing("no interval")
    n = missing("not counted in examples") if summary.n is None else f"{summary.n:,}"
    original = "" if title == metric else f"<small><code>{text(metric)}</code></small>"
    spread = own = ""
    if several:
        alone = missing("fewer than two seeds have a value")
        spread = f'<td data-of="±">{alone if summary.std is None else _spread(summary, metric)}</td>'
        own = "".join(
            f'<td data-of="seed {r.record.seed}:">{_own(r.record.metrics.get(metric), metric)}</td>'
            for r in entry.results
        )
    note, more = text(typeset(summary.reason)), ""
    # Columns of seeds leave a long note no room beside them.
    if several and len(summary.reason) > _LONG_NOTE:
        columns = 8 + len(entry.results)
        note, more = "", f'<tr class="more"><td class="word said" colspan="{columns}">{note}</td></tr>\n'
    return (
        f'<tr><th scope="row">{text(title)}{original}</th>\n'
        f"<td>{value}</td>\n<td>{between}</td>{spread}"
        f'<td>{text(unit_shown(metric, summary.unit))}</td>\n<td data-of="n =">{n}</td>{own}'
        f'<td class="word" data-of="better:">{_BETTER[summary.higher_is_better]}</td>\n'
        f'<td class="word said">{note}</td></tr>\n{more}'
    )


def _own(own: Score | None, metric: str) -> str:
    if own is None or own.value is None:
        return missing(own.reason if own else "not in the record")
    return _number(own.value, own, metric)

"""Format words and numbers for the pages."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from bench.charts.numbers import minus, number, within
from bench.core.names import SUSPICIOUS, is_accuracy

#: Longer words are cut on pages.
LONGEST_WORD = 300
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def is_percent(metric: str, unit: str) -> bool:
    """Accuracies are shown in per cent, every other fraction as it is."""
    return unit == "fraction" and (is_accuracy(metric) or metric.startswith(SUSPICIOUS))


def unit_shown(metric: str, unit: str) -> str:
    """The unit a reader sees beside the number."""
    return "%" if is_percent(metric, unit) else unit


def quantity(
    value: float, metric: str, unit: str, ends: tuple[float | None, float | None] = (None, None)
) -> str:
    """A value with the digits that suit its unit, or that its interval warrants.

    Args:
        ends: of the interval.
    """
    if is_percent(metric, unit):
        return minus(f"{100 * value:.1f}")
    if metric == "time_per_epoch_ratio":
        decimals = sum(abs(value) < bound for bound in (9.995, 99.95))
        return minus(f"{value:.{decimals}f}×") if abs(value) < 1e4 else number(value) + "×"
    if unit == "seconds" and 0.01 <= abs(value) < 1000:
        return f"{value:#.3g}".rstrip(".")
    if unit not in ("fraction", "AUC", "nats", "ratio"):
        return within(value, *ends)
    low, high = ends
    wide = low is not None and high is not None and high - low >= 1e-3
    return minus(f"{value:.3f}") if wide else number(value, 3)


def interval(low: float | None, high: float | None, metric: str, unit: str) -> str:
    """An interval as "51.2–57.4"; empty when it is not known."""
    if low is None or high is None:
        return ""
    dash = "–" if low >= 0 else " to "
    first, last = (quantity(end, metric, unit, (low, high)) for end in (low, high))
    return f"{first.rstrip('×')}{dash}{last}"


def plain(value: Any, digits: int = 6) -> str:
    """A hyper-parameter or setting as short text, numbers with so many digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {plain(item, digits)}" for key, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(plain(item, digits) for item in value)
    return str(value)


def duration(seconds: float) -> str:
    """Seconds as "0.08 s", "8.4 s", "12 min" or "3.1 h"."""
    if 0 < seconds < 0.01:
        return "< 0.01 s"
    if seconds < 120:
        return f"{number(seconds, 2 if 0 < seconds < 1 else None)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def memory(size: int) -> str:
    """Bytes as "1.4 GiB" or "310 MiB"."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def count(n: int, noun: str) -> str:
    """A number and its noun: "1 seed", "1,200 images", "2 entries"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def short_words(value: Any) -> Any:
    """A value as a page shows it: browsers need minutes to lay out many words of thousands of letters."""
    if not isinstance(value, str) or isinstance(value, Markup) or len(value) <= LONGEST_WORD:
        return value
    return _LONG_WORD.sub(lambda found: f"{found[0][:LONGEST_WORD]}…", value)


def breakable(name: str) -> list[str]:
    """A long name in the parts between which a line may break."""
    return re.findall(r".+?(?:(?:\.(?!\d)|[_:/\\,=-])+|(?=\()|(?<=[a-z])(?=[A-Z])|$)", name, flags=re.DOTALL)


def cut(name: str, longest: int = 60) -> str:
    """A name that fits in a table."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def capital(words: str) -> str:
    """Words that begin with a capital letter; the other letters stay as they are."""
    return words[:1].upper() + words[1:]


def beginning(parts: Sequence[str], longest: int = 60) -> str:
    """The first of several parts, cut, and how many more there are."""
    more = f" (and {len(parts) - 1} more)" if len(parts) > 1 else ""
    return cut(parts[0], longest) + more if parts else ""


def bar_path(score: Any, reach: int) -> str:
    """The interval of an accuracy and its value as an SVG path over 0 … 100.

    Args:
        score: a `Summary` with a mean.
        reach: the accuracy at the right end, in per cent.
    """

    def at(value: float) -> str:
        return f"{min(max(value * 100 / reach, 0), 1) * 100:.1f}".removesuffix(".0")

    between = (
        f"M{at(score.low)} 6H{at(score.high)}" if score.low is not None and score.high is not None else ""
    )
    return f"{between}M{at(score.mean)} 1V11"


def p_value(value: float) -> str:
    """A p-value with its letter, on one line: "p = 0.031", "p < 0.001"."""
    text = "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


@lru_cache(4096)
def spoken(name: str) -> str:
    """The name of a score or metric without a title, as words."""
    words = name.replace("_", " ").replace("/", ", ")
    words = re.sub(r"\b(?:auc|cpu|cuda|gpu|pgd|prs)\b", lambda word: word[0].upper(), words)
    return capital(re.sub(r"\b(?:hessian|jacobian)\b", lambda word: word[0].capitalize(), words))


def titled(name: str, titles: Mapping[str, str]) -> str:
    """The title of a score, or that of the score it is a part of and the part, or its name as words."""
    if name in titles:
        return titles[name]
    whole, _, part = name.rpartition("/")
    return f"{titled(whole, titles)}, {part.replace('_', ' ')}" if whole else spoken(name)


def with_titles(claim: str, titles: Mapping[str, str]) -> str:
    """A claim of a study whose columns are called by their headings, without their unit.

    Args:
        claim: as in the study file, such as "trades > at at clean_accuracy".
        titles: name of a column → its heading.
    """
    return re.sub(r"\S+", lambda word: titles.get(word[0], word[0]).removesuffix(", %"), claim)

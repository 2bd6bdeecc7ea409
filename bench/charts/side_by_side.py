"""The same chart of several networks as one: matching panels side by side, with the same axes and colors."""

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.charts.chart import Bars, Chart, Heatmap, Histogram, Mark, Panel, Points, Tiles
from bench.charts.extent import shared_axes
from bench.charts.tiling import ABREAST, tile_columns

#: The sentence in the captions of maps that are shown alone.
OWN_RANGE = "Colors run over each panel's own range."

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*%?")

#: Network → its panel.
Panels = dict[str, Panel]


def side_by_side(charts: Mapping[str, Chart]) -> Chart | None:
    """Combine the charts of several networks into one; None when no panels match.

    Panels match when they have the same title (up to a colon), the same axes, and marked places in common. Pictures
    that are equal in all are shown once; signed ones are shown over their own range and then on one scale.

    Args:
        charts: network → its chart, from left to right.
    """
    found: dict[Hashable, Panels] = {}
    for network, chart in charts.items():
        for key, panel in _keyed(chart.panels):
            found.setdefault(key, {})[network] = panel
    matching = [panels for panels in found.values() if len(panels) > 1]
    if not matching:
        return None
    panels, rows = [], []
    for own in matching:
        for together in _together(own):
            panels += together
            rows.append(len(together))
    first, *others = charts.values()
    titles = {chart.title for chart in charts.values()}
    return Chart(
        name=first.name,
        title=first.title if len(titles) == 1 else _key(first.title),
        source=first.source if all(other.source == first.source for other in others) else "",
        caption=_caption(charts, matching),
        panels=panels,
        rows=rows,
    )


def _keyed(panels: Sequence[Panel]) -> list[tuple[Hashable, Panel]]:
    keyed: list[tuple[Hashable, Panel]] = []
    for panel in panels:
        places: tuple[Hashable, ...] = ()
        if any(isinstance(mark, Heatmap) for mark in panel.marks):
            # A map around other images is another map.
            marked = [mark for mark in panel.marks if isinstance(mark, Points)]
            places = tuple((*mark.x, *mark.y, *mark.labels) for mark in marked)
        key = (_key(panel.title), panel.x.label, panel.y.label, panel.x.log, panel.y.log, places)
        again = sum(other[:-1] == key for other, _ in keyed if isinstance(other, tuple))
        keyed.append(((*key, again), panel))
    return keyed


def _key(title: str) -> str:
    return title.partition(":")[0]


def _together(panels: Panels) -> list[list[Panel]]:
    """Panels that belong together, in rows."""
    pictures = [mark for panel in panels.values() for mark in panel.marks if isinstance(mark, Tiles)]
    if not pictures:
        own = shared_axes(_same_colors(_same_bins(_same_categories(list(panels.values())))))
        return [[_titled(panel, name) for name, panel in zip(panels, own, strict=True)]]
    first, *others = panels.values()
    if all(other.marks == first.marks for other in others):
        return [[first]]
    wide = any(tile_columns(len(tiles.captions)) > ABREAST for tiles in pictures)
    signed = all(tiles.scale == "diverging" and tiles.captions for tiles in pictures)
    versions = [[_titled(panel, name, "each over its own range" * signed) for name, panel in panels.items()]]
    if signed:
        alike = _same_colors(list(panels.values()))
        versions.append(
            [_titled(panel, name, "on one scale") for name, panel in zip(panels, alike, strict=True)]
        )
    return [[panel] for row in versions for panel in row] if wide else versions


def _titled(panel: Panel, network: str, detail: str = "") -> Panel:
    title = ", ".join(filter(None, (panel.title, detail)))
    return panel.model_copy(update={"title": f"{network}: {title}" if title else network})


def _same_categories(panels: list[Panel]) -> list[Panel]:
    """Give every panel's first bars the categories of all, in one order; a missing bar is a gap."""
    names = dict.fromkeys(
        name for panel in panels for mark in panel.marks if isinstance(mark, Bars) for name in mark.categories
    )

    def widened(mark: Mark) -> Mark:
        if not isinstance(mark, Bars):
            return mark
        places = {name: at for at, name in enumerate(mark.categories)}
        parts = {part: getattr(mark, part) for part in ("values", "low", "high") if getattr(mark, part)}
        wide = {
            part: [values[places[name]] if name in places else None for name in names]
            for part, values in parts.items()
        }
        return mark.model_copy(update={"categories": list(names), **wide})

    return [_changed(panel, widened) for panel in panels]


def _same_bins(panels: list[Panel]) -> list[Panel]:
    """Histograms that kept their samples, over common bins."""
    marks = [mark for panel in panels for mark in panel.marks if isinstance(mark, Histogram)]
    if not marks or not all(mark.sample for mark in marks):
        return panels
    pooled = np.concatenate([mark.sample for mark in marks])
    edges = np.histogram_bin_edges(pooled, max(len(mark.values) for mark in marks))

    def counted(mark: Mark) -> Mark:
        if not isinstance(mark, Histogram):
            return mark
        shares = np.histogram(mark.sample, edges)[0] / len(mark.sample)
        return mark.model_copy(update={"edges": edges.tolist(), "values": shares.tolist()})

    return [_changed(panel, counted) for panel in panels]


def _same_colors(panels: list[Panel]) -> list[Panel]:
    """Continuous maps and pictures, in order, with colors over the range of all panels' values."""
    columns = [_colored(panel) for panel in panels]
    ends: dict[tuple[int, int], tuple[float, float]] = {}
    for place in range(min(map(len, columns))):
        marks = [column[place] for column in columns]
        units = {mark.unit if isinstance(mark, Heatmap) else "" for mark in marks}
        values = np.concatenate([_values(mark) for mark in marks])
        values = values[np.isfinite(values)]
        if len(units) == 1 and len({mark.scale for mark in marks}) == 1 and values.size:
            low, high = float(values.min()), float(values.max())
            if marks[0].scale == "diverging":
                low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
            if low < high:
                ends |= {(at, id(mark)): (low, high) for at, mark in enumerate(marks)}

    def colored(at: int, mark: Mark) -> Mark:
        if (at, id(mark)) not in ends:
            return mark
        low, high = ends[at, id(mark)]
        return mark.model_copy(update={"low": low, "high": high})

    return [_changed(panel, lambda mark, at=at: colored(at, mark)) for at, panel in enumerate(panels)]


def _colored(panel: Panel) -> list[Heatmap | Tiles]:
    return [mark for mark in panel.marks if isinstance(mark, Heatmap | Tiles) and mark.scale != "categorical"]


def _values(mark: Heatmap | Tiles) -> np.ndarray:
    rows: list[Any] = (
        [*mark.z] if isinstance(mark, Heatmap) else [row for each in mark.values for row in each]
    )
    return np.array(
        [np.nan if value is None else value for row in rows for value in np.ravel(row)], np.float64
    )


def _changed(panel: Panel, change: Any) -> Panel:
    return panel.model_copy(update={"marks": [change(mark) for mark in panel.marks]})


def _caption(charts: Mapping[str, Chart], matching: Sequence[Panels]) -> str:
    """The text of the networks' captions, then what the panels share."""
    panels = [panel for row in matching for panel in row.values()]
    marks = [mark for panel in panels for mark in panel.marks]
    parts = _said({name: _sentences(chart) for name, chart in charts.items()})
    if any(isinstance(mark, Tiles) and mark.scale == "diverging" for mark in marks):
        parts.append("Pictures on one scale have the same colors for every network.")
    if any(not isinstance(mark, Tiles) for mark in marks):
        maps = any(isinstance(mark, Heatmap) and mark.scale != "categorical" for mark in marks)
        parts.append(f"Matching panels have the same axes{' and colors' if maps else ''}.")
    return " ".join(parts)


def _sentences(chart: Chart) -> list[str]:
    """The sentences of a caption, after the part of the title behind its colon."""
    found = chart.title.partition(": ")[2]
    said = re.split(r"(?<=[.?!]) +", chart.caption)
    return [f"{found}.", *said] if found else said


def _said(sentences: Mapping[str, Sequence[str]]) -> list[str]:
    """The caption common to all, naming up to three numbers that differ; otherwise each network's own."""
    said = {name: [each for each in own if each and each != OWN_RANGE] for name, own in sentences.items()}
    first, *others = said.values()
    if all(len(other) == len(first) for other in others):
        merged = [
            _merged(dict(zip(said, parallel, strict=True))) for parallel in zip(*said.values(), strict=True)
        ]
        if None not in merged:
            return [sentence for sentence in merged if sentence]
    common = [sentence for sentence in first if all(sentence in other for other in others)]
    place = next((at for at, sentence in enumerate(first) if sentence not in common), len(common))
    own = [
        f"{name}: {' '.join(alone)}"
        for name, sentences in said.items()
        if (alone := [sentence for sentence in sentences if sentence not in common])
    ]
    return [*common[:place], *own, *common[place:]]


def _merged(sentences: Mapping[str, str]) -> str | None:
    """Sentences that differ in at most three numbers as one that names them; None for others."""
    words = [_NUMBER.split(sentence) for sentence in sentences.values()]
    numbers = [_NUMBER.findall(sentence) for sentence in sentences.values()]
    if any(other != words[0] for other in words):
        return None
    told = []
    for values in zip(*numbers, strict=True):
        named = [f"{value} ({name})" for name, value in zip(sentences, values, strict=True)]
        told.append(values[0] if len(set(values)) == 1 else f"{', '.join(named[:-1])} and {named[-1]}")
    if sum(len(set(values)) > 1 for values in zip(*numbers, strict=True)) > 3:
        return None
    return "".join(part for pair in zip(words[0], [*told, ""], strict=True) for part in pair)

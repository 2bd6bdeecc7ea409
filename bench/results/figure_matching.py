"""Match the figures of several results, so that they can be drawn side by side, and name the networks."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from bench.charts import Chart, Heatmap, Points, Tiles
from bench.charts.side_by_side import side_by_side
from bench.charts.words import norm_sign
from bench.core.names import OWN_DATA, dataset_label, is_local_path
from bench.core.record import Record
from bench.evaluation.record_charts import caption_subject
from leaderboards.text import plain

#: Name of the defense in the record of a checkpoint whose training is unknown.
_EXTERNAL = "external"
#: Titles of figures of chosen test images.
_OF_AN_IMAGE = re.compile(r"\bimage \d")


@dataclass(frozen=True)
class ResultFigures:
    """A record, its figures, and for a checkpoint the name of its file."""

    record: Record
    charts: Sequence[Chart]
    file: str = ""


@dataclass(frozen=True)
class MatchedFigures:
    """Figures of several networks, matched.

    Attributes:
        charts: one per figure that at least two networks have.
        notes: sentences on the figures that could not be matched.
    """

    charts: list[Chart]
    notes: list[str]


def network_names(results: Sequence[ResultFigures]) -> list[str]:
    """A unique name for each result: its defense, and the properties that distinguish results of one defense."""
    records = [result.record for result in results]
    names = [
        result.record.defense.name
        if result.record.defense.name != _EXTERNAL
        else result.file or result.record.model
        for result in results
    ]
    properties: list[Callable[[int], str]] = [
        lambda at: records[at].model,
        lambda at: dataset_label(records[at].dataset.name),
        lambda at: f"{norm_sign(records[at].threat.norm)} {records[at].threat.eps}",
        lambda at: _differing_settings(records, names, at),
        lambda at: _epochs(records[at]),
        lambda at: f"seed {records[at].seed}",
        lambda at: f"battery {records[at].battery.name}",
        lambda at: records[at].id,
    ]
    for describe in properties:
        words = [describe(at) for at in range(len(records))]
        ambiguous = {
            name for name in names if len({words[at] for at, other in enumerate(names) if other == name}) > 1
        }
        names = [
            f"{name}, {words[at]}" if name in ambiguous and words[at] else name
            for at, name in enumerate(names)
        ]
    seen: Counter[str] = Counter()
    for at, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[at] = f"{name} ({seen[name]})"
    return names


def _differing_settings(records: Sequence[Record], names: Sequence[str], at: int) -> str:
    """The hyper-parameters of a result that differ from those of another result with its name."""
    namesakes = [
        records[other].defense.hyperparameters for other, name in enumerate(names) if name == names[at]
    ]
    own = records[at].defense.hyperparameters
    differing = [key for key in own if any(other.get(key) != own[key] for other in namesakes)]
    return ", ".join(f"{key} = {plain(own[key])}" for key in differing)


def _epochs(record: Record) -> str:
    return f"{record.training.epochs} epochs" if record.training else ""


def match_figures(results: Mapping[str, ResultFigures]) -> MatchedFigures:
    """Combine each figure that at least two networks have into one chart.

    Figures match by name and title. Figures of images match only where the images are the same. Several figures
    with the same name, title and images match in their order.

    Args:
        results: network → its result, in the order of their panels.
    """
    groups: dict[tuple[Hashable, ...], dict[str, Chart]] = {}
    for network, result in results.items():
        for chart in result.charts:
            images = _images(result.record) if shows_images(chart) else ""
            caption = chart.caption.removeprefix(f"{caption_subject(result.record)}. ")
            anonymous = chart.model_copy(update={"caption": caption})
            repetition = 0
            while network in groups.get((key := (*_key(chart), repetition, images)), {}):
                repetition += 1
            groups.setdefault(key, {})[network] = anonymous
    charts: list[Chart] = []
    only_one: dict[str, list[str]] = {}
    other_images: dict[str, list[str]] = {}
    notes = []
    for key, group in groups.items():
        first = next(iter(group.values()))
        with_figure = [name for other, theirs in groups.items() if other[:-1] == key[:-1] for name in theirs]
        combined = side_by_side(group) if len(group) > 1 else None
        if combined is not None:
            charts.append(_with_unique_name(combined, charts))
            if lacking := [name for name in results if name not in with_figure]:
                notes.append(f"{_title(first)}: not for {enumeration(lacking)}.")
        elif len(group) > 1:
            notes.append(f"{_title(first)}: drawn around other images or on other axes for each network.")
        elif len(with_figure) > 1:
            other_images.setdefault(_title(first), []).extend(group)
        else:
            only_one.setdefault(next(iter(group)), []).append(_title(first))
    notes += [
        f"{title}: of other test images for {enumeration(names)}." for title, names in other_images.items()
    ]
    notes += [f"Only for {name}: {'; '.join(titles)}." for name, titles in only_one.items()]
    return MatchedFigures(charts, notes)


def shows_images(chart: Chart) -> bool:
    """Whether a chart shows chosen test images, so that it compares only with a chart of the same images."""
    titles = [chart.title, *(panel.title for panel in chart.panels)]
    marks = [mark for panel in chart.panels for mark in panel.marks]
    return any(map(_OF_AN_IMAGE.search, titles)) or any(isinstance(mark, Heatmap | Tiles) for mark in marks)


def _images(record: Record) -> tuple[Hashable, ...]:
    """Identify the test images: for equal values, the n-th test images of two records are the same.

    The order of the test images is fixed, so their number does not matter. Folders and files of one name may hold
    different images, so for these the fingerprint is compared too.
    """
    data = record.dataset
    anyone_s = is_local_path(data.name) or data.name == OWN_DATA
    return (data.name, data.shape, data.evaluated_fingerprint if anyone_s else "")


def _key(chart: Chart) -> tuple[Hashable, ...]:
    """What matching charts share: the name without number and the title without the finding after its colon."""
    return re.sub(r"-\d+$", "", chart.name), chart.title.partition(":")[0], *_marked_images(chart)


def _marked_images(chart: Chart) -> list[str]:
    """Distinct labels on a chart's maps, such as the images that span a plane."""
    panels = [panel for panel in chart.panels if any(isinstance(mark, Heatmap) for mark in panel.marks)]
    marks = [mark for panel in panels for mark in panel.marks if isinstance(mark, Points)]
    return list(dict.fromkeys(label for mark in marks for label in mark.labels))


def _title(chart: Chart) -> str:
    """The title, followed by the images that are marked on the chart's maps."""
    marked = [label for label in _marked_images(chart) if _OF_AN_IMAGE.search(label)]
    return f"{chart.title} ({', '.join(marked)})" if marked else chart.title


def _with_unique_name(chart: Chart, others: Sequence[Chart]) -> Chart:
    taken, name, number = {other.name for other in others}, chart.name, 1
    while name in taken:
        number += 1
        name = f"{chart.name[:76]}-{number}"
    return chart.model_copy(update={"name": name})


def enumeration(names: Sequence[str]) -> str:
    """Names as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

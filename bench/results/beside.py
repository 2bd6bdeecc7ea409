"""Figures of several results beside each other: what to call the networks, and which of their figures match."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from bench.charts import Chart, Heatmap, Points, Tiles
from bench.charts.beside import side_by_side
from bench.charts.words import norm_sign
from bench.core.names import dataset_label
from bench.core.record import Record
from bench.evaluation.figures import what
from leaderboards.text import plain

#: What a checkpoint's record calls a training that it knows nothing of.
_EXTERNAL = "external"
#: Titles of figures that show chosen test images.
_OF_AN_IMAGE = re.compile(r"\bimage \d")


@dataclass(frozen=True)
class Figures:
    """A result's record, its figures, and of a checkpoint the name of its file."""

    record: Record
    charts: Sequence[Chart]
    file: str = ""


@dataclass(frozen=True)
class Together:
    """Figures beside each other.

    Attributes:
        charts: one for every figure that at least two networks have.
        notes: in sentences, what could not be set beside each other.
    """

    charts: list[Chart]
    notes: list[str]


def network_names(results: Sequence[Figures]) -> list[str]:
    """A name for each result, no two alike: its defense, and of the rest only what tells equal names apart."""
    records = [result.record for result in results]
    names = [
        result.record.defense.name
        if result.record.defense.name != _EXTERNAL
        else result.file or result.record.model
        for result in results
    ]
    telling: list[Callable[[int], str]] = [
        lambda at: records[at].model,
        lambda at: dataset_label(records[at].dataset.name),
        lambda at: f"{norm_sign(records[at].threat.norm)} {records[at].threat.eps}",
        lambda at: _settings(records, names, at),
        lambda at: _epochs(records[at]),
        lambda at: f"seed {records[at].seed}",
        lambda at: f"battery {records[at].battery.name}",
        lambda at: records[at].id,
    ]
    for word in telling:
        words = [word(at) for at in range(len(records))]
        apart = {
            name for name in names if len({words[at] for at, own in enumerate(names) if own == name}) > 1
        }
        names = [
            f"{name}, {words[at]}" if name in apart and words[at] else name for at, name in enumerate(names)
        ]
    seen: Counter[str] = Counter()
    for at, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[at] = f"{name} ({seen[name]})"
    return names


def _settings(records: Sequence[Record], names: Sequence[str], at: int) -> str:
    """The hyper-parameters in which a result differs from others of its name."""
    alike = [records[other].defense.hyperparameters for other, name in enumerate(names) if name == names[at]]
    own = records[at].defense.hyperparameters
    differing = [key for key in own if any(other.get(key) != own[key] for other in alike)]
    return ", ".join(f"{key} = {plain(own[key])}" for key in differing)


def _epochs(record: Record) -> str:
    return f"{record.training.epochs} epochs" if record.training else ""


def set_beside(results: Mapping[str, Figures]) -> Together:
    """Every figure that at least two networks have, as one.

    Figures match by name and title. Those that show images match only where the images are the same, and several
    of one name, title and images in their order.

    Args:
        results: name of the network → its result, in the order they are to stand in.
    """
    groups: dict[tuple[Hashable, ...], dict[str, Chart]] = {}
    for network, result in results.items():
        for chart in result.charts:
            place = _images(result.record) if shows_images(chart) else ""
            caption = chart.caption.removeprefix(f"{what(result.record)}. ")
            plain_chart = chart.model_copy(update={"caption": caption})
            again = 0
            while network in groups.get((key := (*_key(chart), again, place)), {}):
                again += 1
            groups.setdefault(key, {})[network] = plain_chart
    charts: list[Chart] = []
    alone: dict[str, list[str]] = {}
    apart: dict[str, list[str]] = {}
    notes = []
    for key, own in groups.items():
        first = next(iter(own.values()))
        elsewhere = [name for other, theirs in groups.items() if other[:-1] == key[:-1] for name in theirs]
        made = side_by_side(own) if len(own) > 1 else None
        if made is not None:
            charts.append(_named(made, charts))
            if lacking := [name for name in results if name not in elsewhere]:
                notes.append(f"{_called(first)}: not for {listed(lacking)}.")
        elif len(own) > 1:
            notes.append(f"{_called(first)}: drawn around other images or on other axes for each network.")
        elif len(elsewhere) > 1:
            apart.setdefault(_called(first), []).extend(own)
        else:
            alone.setdefault(next(iter(own)), []).append(_called(first))
    notes += [f"{title}: of other test images for {listed(names)}." for title, names in apart.items()]
    notes += [f"Only for {name}: {'; '.join(titles)}." for name, titles in alone.items()]
    return Together(charts, notes)


def shows_images(chart: Chart) -> bool:
    """Whether a chart is of chosen test images, so that it means little beside one of others."""
    titles = [chart.title, *(panel.title for panel in chart.panels)]
    marks = [mark for panel in chart.panels for mark in panel.marks]
    return any(map(_OF_AN_IMAGE.search, titles)) or any(isinstance(mark, Heatmap | Tiles) for mark in marks)


def _images(record: Record) -> tuple[Hashable, ...]:
    """Equal for records whose n-th test images are the same: these come in one order, however many are used."""
    data = record.dataset
    folder = data.name.startswith("imagefolder:")
    return (data.name, data.shape, data.evaluated_fingerprint if folder else "")


def _key(chart: Chart) -> tuple[Hashable, ...]:
    """Numbered figures may come in another order; what follows a colon is a finding."""
    return re.sub(r"-\d+$", "", chart.name), chart.title.partition(":")[0], *_marked(chart)


def _marked(chart: Chart) -> list[str]:
    """What is marked on a chart's maps, such as the images that a plane goes through; each once."""
    panels = [panel for panel in chart.panels if any(isinstance(mark, Heatmap) for mark in panel.marks)]
    marks = [mark for panel in panels for mark in panel.marks if isinstance(mark, Points)]
    return list(dict.fromkeys(label for mark in marks for label in mark.labels))


def _called(chart: Chart) -> str:
    """The title, with the images that are marked where it does not tell them."""
    marked = [label for label in _marked(chart) if _OF_AN_IMAGE.search(label)]
    return f"{chart.title} ({', '.join(marked)})" if marked else chart.title


def _named(chart: Chart, others: Sequence[Chart]) -> Chart:
    taken, name, number = {other.name for other in others}, chart.name, 1
    while name in taken:
        number += 1
        name = f"{chart.name[:76]}-{number}"
    return chart.model_copy(update={"name": name})


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

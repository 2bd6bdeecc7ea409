"""A chart as a page to point at: plotly's description of it, drawn by its script that lies beside the page.

Nothing is fetched from anywhere else. Text goes in escaped, as plotly reads some markup in every string.
"""

import html
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import as_file, files
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.charts.chart import (
    Axis,
    Bars,
    Chart,
    Heatmap,
    Histogram,
    Line,
    Mark,
    Numbers,
    Panel,
    Points,
    Rule,
    Tiles,
)
from bench.charts.palette import (
    COLOURS,
    DARK_COLOURS,
    DIVERGING_STOPS,
    SEQUENTIAL,
    category_colours,
    style,
    style_numbers,
)
from bench.charts.table import category_name
from bench.charts.tiling import NAMED_POINTS, is_log, panel_columns, tile_columns, tile_ratio, tiles_of
from bench.core.files import write_text
from bench.version import __version__

#: What pages of charts need beside them: plotly's script, ours, and the style sheet.
ASSETS = ("plotly.min.js", "charts.js", "charts.css")
_DASHES = ("dot", "dash", "dashdot")
_DIVERGING = [(at / (len(DIVERGING_STOPS) - 1), colour) for at, colour in enumerate(DIVERGING_STOPS)]

Json = dict[str, Any]


@cache
def templates() -> Environment:
    """The templates of pages with charts; everything that goes in is escaped."""
    environment = Environment(
        loader=PackageLoader("bench.charts", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["generator"] = f"regionbench {__version__}"
    return environment


def write_assets(folder: Path) -> None:
    """Put what `page` and `division` refer to into a folder, once for all its charts."""
    from plotly.offline import get_plotlyjs

    write_text(folder / "plotly.min.js", get_plotlyjs())
    with as_file(files("bench.charts") / "static") as static:
        for path in sorted(static.iterdir()):
            shutil.copyfile(path, folder / path.name)


def page(
    chart: Chart,
    *,
    assets: str = "",
    links: Mapping[str, str] | None = None,
    back: tuple[str, str] | None = None,
    icon: str = "data:,",
) -> str:
    """A page of one chart, in the light or dark of whoever reads it.

    Args:
        assets: the path from the page to the folder of `write_assets`, empty or ending in a slash.
        links: word → path, shown below the chart: where the picture, the table and the data lie.
        back: path and words of the page to return to.
        icon: path of the page's icon; by default none is asked for.
    """
    template = templates().get_template("page.html.j2")
    return template.render(
        chart=chart,
        figure=Markup(division(chart)),
        assets=assets,
        links=links or {},
        back=back,
        icon=icon,
    )


def division(chart: Chart) -> str:
    """The chart as a part of a page that loads the assets; its data stand in a block that no browser runs."""
    text = json.dumps(describe(chart), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # "</script>" and "<!--" would end the block.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    label = html.escape(chart.title)
    return (
        f'<div class="plot" role="group" aria-label="{label}">'
        f'<script type="application/json">{text}</script>'
        "<p>The chart is drawn by a script; without one, its picture and its numbers are linked nearby.</p></div>"
    )


def describe(chart: Chart) -> Json:
    """The chart in plotly's words: `data` and `layout` but for colours and places, which `charts.js` adds.

    Beside them stand the panels (axes, colour bar, height), how many fit side by side, and the colours.
    """
    numbers = style_numbers(chart)
    data: list[Json] = []
    layout: Json = {"annotations": [], "shapes": [], "barmode": "group", "showlegend": False}
    panels = []
    for at, panel in enumerate(chart.panels):
        panels.append(_Drawing(panel, at, numbers, data, layout).draw())
    named: set[str] = set()
    for item in [*data, *layout["shapes"]]:
        # Of the marks of one name, in whatever panel, the first stands in the legend for all.
        name = item.get("legendgroup")
        if name and item.setdefault("showlegend", name not in named):
            named.add(name)
    layout["showlegend"] = bool(named)
    return {
        "data": data,
        "layout": layout,
        "panels": panels,
        "columns": panel_columns(chart.panels),
        "colours": {"light": COLOURS, "dark": DARK_COLOURS},
    }


class _Drawing:
    """One panel on its way into plotly's lists."""

    def __init__(
        self, panel: Panel, at: int, numbers: dict[str, int], data: list[Json], layout: Json
    ) -> None:
        self.panel, self.numbers, self.data, self.layout = panel, numbers, data, layout
        self.suffix = "" if at == 0 else str(at + 1)
        self.axes = {"xaxis": f"x{self.suffix}", "yaxis": f"y{self.suffix}"}
        bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
        self.categories = list(dict.fromkeys(name for mark in bars for name in mark.categories))
        self.colour_axis: str | None = None
        self.rules = 0

    def draw(self) -> Json:
        """Add every mark, the axes and the title; gives what the script needs to know of the panel."""
        layout, tiles = self.layout, tiles_of(self.panel)
        layout[f"xaxis{self.suffix}"] = self._axis(self.panel.x, "x")
        layout[f"yaxis{self.suffix}"] = self._axis(self.panel.y, "y")
        if self.panel.square:
            layout[f"yaxis{self.suffix}"] |= {"scaleanchor": self.axes["xaxis"], "constrain": "domain"}
            layout[f"xaxis{self.suffix}"]["constrain"] = "domain"
        if self.panel.title:
            self._write(_safe(self.panel.title), 0.5, 1.0, shift=6, size=14, within=True)
        for mark in self.panel.marks:
            self._mark(mark)
        height = None
        if tiles:
            across = tile_columns(len(tiles.captions))
            height = math.ceil(len(tiles.captions) / across) * (tile_ratio(tiles) + 0.25) / across
        across, up = (
            min(max(map(len, labels), default=0), 32)
            for labels in (self.categories or self.panel.x.tick_labels, self.panel.y.tick_labels)
        )
        return {
            "axes": self.suffix,
            "coloraxis": self.colour_axis,
            "ratio": height,
            "across": tile_columns(len(tiles.captions)) if tiles else None,
            "letters": max(map(len, tiles.captions)) if tiles else None,
            "square": self.panel.square,
            # Pixels for the labels of the axes.
            "left": 0 if tiles else 62 + 6 * max(0, up - 4),
            "below": 16 if tiles else 66 + 5 * max(0, across - 6),
        }

    def _mark(self, mark: Mark) -> None:
        match mark:
            case Line():
                self._line(mark)
            case Points():
                self._points(mark)
            case Bars():
                self._bars(mark)
            case Histogram():
                self._histogram(mark)
            case Heatmap():
                self._heatmap(mark)
            case Tiles():
                self._tiles(mark)
            case Rule():
                self._rule(mark)

    def _add(self, mark: Mark, **trace: Any) -> None:
        legend = (
            {} if isinstance(mark, Heatmap | Tiles) or not mark.name else {"legendgroup": _safe(mark.name)}
        )
        self.data.append({"name": _safe(getattr(mark, "name", "")), **legend, **self.axes, **trace})

    def _line(self, mark: Line) -> None:
        look = style(self.numbers[mark.name])
        y = self._above(mark.y, "y")
        ends = list(zip_longest(mark.low, mark.high)) if mark.low and mark.high else []
        if ends:
            low, high = (self._above(values, "y") for values in (mark.low, mark.high))
            xs, ys = _band(mark.x, low, high, mark.step)
            self._add(
                mark,
                type="scatter",
                mode="none",
                x=xs,
                y=ys,
                fill="toself",
                hoverinfo="skip",
                showlegend=False,
                meta={"colour": look.colour, "alpha": 0.2},
            )
        seen = [value is not None for value in y]
        lonely = any(
            here and not before and not after
            for before, here, after in zip([False, *seen], seen, [*seen[1:], False], strict=False)
        )
        self._add(
            mark,
            type="scatter",
            mode="lines+markers" if mark.markers or lonely else "lines",
            x=self._above(mark.x, "x"),
            y=y,
            line={"dash": look.dash, "width": 2, "shape": "hv" if mark.step else "linear"},
            marker={"symbol": look.symbol, "size": 7},
            meta={"colour": look.colour},
            **self._hover(mark.name, interval=ends),
        )

    def _points(self, mark: Points) -> None:
        look, many = style(self.numbers[mark.name]), len(mark.x) > 200
        over = any(isinstance(other, Heatmap) for other in self.panel.marks)
        self._add(
            mark,
            type="scatter",
            mode="markers+text" if 0 < len(mark.labels) <= NAMED_POINTS else "markers",
            textposition="top right",
            textfont={"shadow": "0 0 3px white, 0 0 3px white", "color": "black"} if over else {},
            x=mark.x,
            y=mark.y,
            marker={
                "symbol": look.symbol,
                "size": 11 if over else 5 if many else 8,
                "line": {"width": 1.5 if over else 0.4, "color": "white"},
            },
            meta={"colour": look.colour},
            **self._hover(mark.name, labels=mark.labels),
        )

    def _bars(self, mark: Bars) -> None:
        look = style(self.numbers[mark.name])
        ends = list(zip_longest(mark.low, mark.high)) if mark.low and mark.high else []
        errors = (
            [
                (None, None) if value is None or low is None or high is None else (value - low, high - value)
                for value, (low, high) in zip(mark.values, ends, strict=True)
            ]
            if ends
            else []
        )
        bars = {
            "type": "data",
            "symmetric": False,
            "arrayminus": [down for down, _ in errors],
            "array": [up for _, up in errors],
        }
        self._add(
            mark,
            type="bar",
            x=[self.categories.index(name) for name in mark.categories],
            y=mark.values,
            marker={"pattern": {"shape": look.pattern, "fillmode": "overlay", "fgcolor": "white", "size": 7}},
            textposition="none",
            meta={"colour": look.colour},
            **({"error_y": bars} if ends else {}),
            **self._hover(mark.name, labels=mark.categories, interval=ends, x=False),
        )

    def _histogram(self, mark: Histogram) -> None:
        look = style(self.numbers[mark.name])
        middles = [(left + right) / 2 for left, right in zip(mark.edges, mark.edges[1:], strict=False)]
        between = [
            f"{left:.4g} to {right:.4g}" for left, right in zip(mark.edges, mark.edges[1:], strict=False)
        ]
        self._add(
            mark,
            type="scatter",
            mode="lines",
            x=[edge for edge in mark.edges for _ in (0, 1)],
            y=[0.0, *(value for value in mark.values for _ in (0, 1)), 0.0],
            line={"dash": look.dash, "width": 1.5},
            fill="toself",
            hoverinfo="skip",
            meta={"colour": look.colour, "alpha": 0.3},
        )
        self._add(
            mark,
            type="scatter",
            mode="markers",
            x=middles,
            y=mark.values,
            marker={"opacity": 0, "size": 12},
            showlegend=False,
            meta={"colour": look.colour},
            **self._hover(mark.name, labels=between, x=False),
        )

    def _heatmap(self, mark: Heatmap) -> None:
        labels = [_template(self.panel.x.label) or "x", _template(self.panel.y.label) or "y"]
        where = f"{labels[0]}: %{{x:.4g}}<br>{labels[1]}: %{{y:.4g}}<br>"
        name = f"coloraxis{self.suffix}"
        shared = {"type": "heatmap", "x": mark.x, "y": mark.y, "coloraxis": name, "hoverongaps": False}
        values = [value for row in mark.z for value in row if value is not None]
        if mark.scale == "categorical":
            self._categories(mark, shared, where)
        else:
            low, high = min(values, default=0.0), max(values, default=1.0)
            end = max(abs(low), abs(high)) or 1.0
            diverging = mark.scale == "diverging"
            self.layout[name] = {
                "cmin": -end if diverging else low,
                "cmax": end if diverging else high,
                "colorscale": _DIVERGING if diverging else SEQUENTIAL.capitalize(),
                "colorbar": _colour_bar(mark.unit),
            }
            unit = _template(mark.unit) or "value"
            self._add(mark, **shared, z=mark.z, hovertemplate=f"{where}{unit}: %{{z:.4g}}<extra></extra>")
            self.colour_axis = name
        if mark.contour is not None and values and min(values) < mark.contour < max(values):
            self._contour(mark)

    def _categories(self, mark: Heatmap, shared: Json, where: str) -> None:
        colours = category_colours()
        places = [[None if z is None else round(z) % len(colours) for z in row] for row in mark.z]
        texts = [
            [_safe(category_name(mark, z)) or ("" if z is None else f"{z:g}") for z in row] for row in mark.z
        ]
        name = str(shared["coloraxis"])
        self.layout[name] = {
            "cmin": -0.5,
            "cmax": len(colours) - 0.5,
            "colorscale": _steps(colours),
            "showscale": False,
        }
        if mark.names and len(mark.names) <= len(colours):
            self.layout[name] |= {
                "cmax": len(mark.names) - 0.5,
                "colorscale": _steps(colours[: len(mark.names)]),
                "showscale": True,
                "colorbar": {
                    **_colour_bar(mark.unit),
                    "tickvals": list(range(len(mark.names))),
                    "ticktext": [_safe(name) for name in mark.names],
                },
            }
            self.colour_axis = name
        unit = _template(mark.unit) or "here"
        template = f"{where}{unit}: %{{text}}<extra></extra>"
        self._add(mark, **shared, z=places, text=texts, hovertemplate=template)

    def _contour(self, mark: Heatmap) -> None:
        map_at = len(self.data) - 1
        for colour, width in (("white", 4), ("black", 1.6)):
            self._add(
                mark,
                type="contour",
                x=mark.x,
                y=mark.y,
                # The script takes the values from the map below, so that the page holds them once.
                meta={"values_of": map_at},
                contours={"start": mark.contour, "end": mark.contour, "size": 1, "coloring": "none"},
                line={"color": colour, "width": width},
                showscale=False,
                hoverinfo="skip",
            )

    def _tiles(self, mark: Tiles) -> None:
        across = tile_columns(len(mark.captions)) or 1
        down = tile_ratio(mark) + 0.25 if mark.captions else 1.0
        ends = math.ceil(len(mark.captions) / across) * down
        hidden = {"visible": False, "fixedrange": False}
        self.layout[f"xaxis{self.suffix}"] = {
            **hidden,
            "range": [-0.02, across - 0.06],
            "constrain": "domain",
        }
        self.layout[f"yaxis{self.suffix}"] = {
            **hidden,
            "range": [ends, 0],
            "scaleanchor": self.axes["xaxis"],
            "constrain": "domain",
        }
        pictures: list[list[list[Any]]] = [*mark.values]
        for at, (caption, picture) in enumerate(zip(mark.captions, pictures, strict=True)):
            left, top = at % across, at // across * down + 0.2
            size = 0.92 / len(picture[0])
            place = {"x0": left + size / 2, "dx": size, "y0": top + size / 2, "dy": size}
            title = f"{_template(caption)}<br>"
            if isinstance(picture[0][0], list):
                colours = [[[_byte(c) for c in pixel] for pixel in row] for row in picture]
                template = f"{title}red, green, blue: %{{z}}<extra></extra>"
                self._add(mark, type="image", z=colours, hovertemplate=template, **place)
            else:
                self._picture(mark, picture, place, title)
            self._write(_safe(caption), left + 0.46, top - 0.02, size=11)

    def _picture(self, mark: Tiles, picture: list[list[float]], place: Json, title: str) -> None:
        values = [value for row in picture for value in row]
        low, high = min(values), max(values)
        diverging = mark.scale == "diverging"
        end = max(abs(low), abs(high)) or 1.0
        self._add(
            mark,
            type="heatmap",
            z=picture,
            zmin=-end if diverging else low,
            zmax=end if diverging else max(high, low + 1e-12),
            colorscale=_DIVERGING if diverging else [(0, "black"), (1, "white")],
            showscale=False,
            hovertemplate=f"{title}%{{z:.4g}}<extra></extra>",
            **place,
        )

    def _rule(self, mark: Rule) -> None:
        x, y = self.axes["xaxis"], self.axes["yaxis"]
        line = {"dash": _DASHES[self.rules % len(_DASHES)], "width": 1.5}
        self.rules += 1
        group: Json = {"type": "line", "line": line, "name": _safe(mark.name)}
        if mark.name:
            group["legendgroup"] = _safe(mark.name)
        if mark.x is not None:
            place = {"xref": x, "x0": mark.x, "x1": mark.x, "yref": f"{y} domain", "y0": 0, "y1": 1}
            self.layout["shapes"].append({**group, **place})
        if mark.y is not None:
            place = {"yref": y, "y0": mark.y, "y1": mark.y, "xref": f"{x} domain", "x0": 0, "x1": 1}
            self.layout["shapes"].append({**group, **place})

    def _hover(
        self, name: str, *, labels: Sequence[str] = (), interval: Sequence[Any] = (), x: bool = True
    ) -> Json:
        """What appears at a point: its name and label, then the axes with their units, then the interval."""
        lines = [f"<b>{_template(name)}</b>"] if name else []
        lines += ["%{text}"] if labels else []
        lines += [f"{_template(self.panel.x.label) or 'x'}: %{{x:.4g}}"] if x else []
        lines += [f"{_template(self.panel.y.label) or 'y'}: %{{y:.4g}}"]
        lines += ["from %{customdata[0]:.4g} to %{customdata[1]:.4g}"] if interval else []
        hover: Json = {"hovertemplate": "<br>".join(lines) + "<extra></extra>"}
        if labels:
            hover["text"] = [_safe(label) for label in labels]
        if interval:
            hover["customdata"] = [list(ends) for ends in interval]
        return hover

    def _above(self, values: Sequence[float | None], letter: Literal["x", "y"]) -> Numbers:
        log = is_log(self.panel, letter)
        return [None if value is None or (log and value <= 0) else value for value in values]

    def _axis(self, axis: Axis, letter: Literal["x", "y"]) -> Json:
        log = is_log(self.panel, letter)
        other = {"x": "y", "y": "x"}[letter]
        drawn: Json = {"anchor": self.axes[f"{other}axis"], "title": {"text": _safe(axis.label)}}
        drawn |= {"type": "log" if log else "linear", "zeroline": False}
        if axis.low is not None or axis.high is not None:
            ends = (axis.low, axis.high)
            drawn["range"] = [end if end is None or not log else math.log10(end) for end in ends]
        ticks, labels = axis.ticks, axis.tick_labels
        if self.categories and letter == "x":
            ticks, labels = [float(at) for at in range(len(self.categories))], self.categories
        if ticks:
            drawn["tickvals"] = ticks
            if labels:
                drawn["ticktext"] = [
                    _safe(label if len(label) <= 32 else label[:31] + "…") for label in labels
                ]
        return drawn

    def _write(
        self, text: str, x: float, y: float, *, size: int, shift: int = 0, within: bool = False
    ) -> None:
        of = " domain" if within else ""
        note = {"text": text, "x": x, "y": y, "showarrow": False, "xanchor": "center", "yanchor": "bottom"}
        refs = {"xref": f"{self.axes['xaxis']}{of}", "yref": f"{self.axes['yaxis']}{of}"}
        self.layout["annotations"].append({**note, **refs, "font": {"size": size}, "yshift": shift})


def _steps(colours: list[str]) -> list[tuple[float, str]]:
    n = len(colours)
    return [stop for at, colour in enumerate(colours) for stop in ((at / n, colour), ((at + 1) / n, colour))]


def _colour_bar(unit: str) -> Json:
    return {"title": {"text": _safe(unit), "side": "right"}, "thickness": 12, "outlinewidth": 0}


def _band(x: list[float], low: Numbers, high: Numbers, step: bool) -> tuple[Numbers, Numbers]:
    """Closed outlines around every run of points that has both ends, one after the other with gaps between."""
    xs: Numbers = []
    ys: Numbers = []
    run: list[tuple[float, float, float]] = []
    for place, bottom, top in [*zip(x, low, high, strict=True), (math.nan, None, None)]:
        if bottom is not None and top is not None:
            if step and run:
                run.append((place, run[-1][1], run[-1][2]))
            run.append((place, bottom, top))
        elif run:
            xs += [point[0] for point in run] + [point[0] for point in reversed(run)] + [None]
            ys += [point[2] for point in run] + [point[1] for point in reversed(run)] + [None]
            run = []
    return xs[:-1], ys[:-1]


def _byte(share: float) -> int:
    return round(255 * min(max(share, 0.0), 1.0))


def _safe(text: str) -> str:
    """Text that plotly shows as it is; it reads a small part of HTML in all strings."""
    # Between dollar signs it would look for a typesetter of formulas.
    return html.escape(text, quote=False).replace("$", "&#36;")


def _template(text: str) -> str:
    """The same inside a hover template, where %{…} stands for a value."""
    return _safe(text).replace("%{", "%\u200b{")

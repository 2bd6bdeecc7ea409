"""Heat maps and small pictures as plotly's traces."""

import math
from typing import Any

from bench.charts.chart import Heatmap, Tiles
from bench.charts.palette import DIVERGING_STOPS, SEQUENTIAL, color_ends, map_colors, named_categories
from bench.charts.plotly.canvas import Canvas, Json
from bench.charts.plotly.escape import in_template, safe
from bench.charts.table import category_name
from bench.charts.tiling import tile_columns, tile_ratio

_DIVERGING = [(at / (len(DIVERGING_STOPS) - 1), color) for at, color in enumerate(DIVERGING_STOPS)]
_GRAY = [(0, "black"), (1, "white")]


def add_heatmap(canvas: Canvas, mark: Heatmap) -> None:
    """A map with its color bar and its contour; a tooltip gives the place and the value of a cell."""
    labels = [in_template(canvas.panel.x.label) or "x", in_template(canvas.panel.y.label) or "y"]
    where = f"{labels[0]}: %{{x:.4g}}<br>{labels[1]}: %{{y:.4g}}<br>"
    name = f"coloraxis{canvas.suffix}"
    shared = {"type": "heatmap", "x": mark.x, "y": mark.y, "coloraxis": name, "hoverongaps": False}
    values = [value for row in mark.z for value in row if value is not None]
    if mark.scale == "categorical":
        _categories(canvas, mark, shared, where)
    else:
        low, high = color_ends(mark, min(values, default=0.0), max(values, default=1.0))
        canvas.layout[name] = {
            "cmin": low,
            "cmax": high,
            "colorscale": _DIVERGING if mark.scale == "diverging" else SEQUENTIAL.capitalize(),
            "colorbar": _color_bar(mark.unit),
        }
        unit = in_template(mark.unit) or "value"
        canvas.add(mark, **shared, z=mark.z, hovertemplate=f"{where}{unit}: %{{z:.4g}}<extra></extra>")
        canvas.color_axis = name
    if mark.contour is not None and values and min(values) < mark.contour < max(values):
        _contour(canvas, mark)


def _categories(canvas: Canvas, mark: Heatmap, shared: Json, where: str) -> None:
    colors = map_colors(mark)
    places = [[None if z is None else round(z) % len(colors) for z in row] for row in mark.z]
    texts = [[safe(category_name(mark, z)) or ("" if z is None else f"{z:g}") for z in row] for row in mark.z]
    name = str(shared["coloraxis"])
    canvas.layout[name] = {
        "cmin": -0.5,
        "cmax": len(colors) - 0.5,
        "colorscale": _steps(colors),
        "showscale": False,
    }
    canvas.named = [(safe(name), color) for name, color in named_categories(mark).items()]
    unit = in_template(mark.unit) or "here"
    template = f"{where}{unit}: %{{text}}<extra></extra>"
    canvas.add(mark, **shared, z=places, text=texts, hovertemplate=template)


def _contour(canvas: Canvas, mark: Heatmap) -> None:
    map_at = len(canvas.data) - 1
    for color, width in (("white", 4), ("black", 1.6)):
        canvas.add(
            mark,
            type="contour",
            x=mark.x,
            y=mark.y,
            # The script takes the values from the map below, so that the page holds them once.
            meta={"values_of": map_at},
            contours={"start": mark.contour, "end": mark.contour, "size": 1, "coloring": "none"},
            line={"color": color, "width": width},
            showscale=False,
            showlegend=False,
            hoverinfo="skip",
        )


def add_tiles(canvas: Canvas, mark: Tiles) -> None:
    """Pictures in a grid with their captions, and a color bar where they share their colors."""
    across = tile_columns(len(mark.captions)) or 1
    down = tile_ratio(mark) + 0.25 if mark.captions else 1.0
    ends = math.ceil(len(mark.captions) / across) * down
    hidden = {"visible": False, "fixedrange": False}
    canvas.layout[f"xaxis{canvas.suffix}"] = {
        **hidden,
        "range": [-0.02, across - 0.06],
        "constrain": "domain",
    }
    canvas.layout[f"yaxis{canvas.suffix}"] = {
        **hidden,
        "range": [ends, 0],
        "scaleanchor": canvas.axes["xaxis"],
        "constrain": "domain",
    }
    pictures: list[list[list[Any]]] = [*mark.values]
    for at, (caption, picture) in enumerate(zip(mark.captions, pictures, strict=True)):
        left, top = at % across, at // across * down + 0.2
        size = 0.92 / len(picture[0])
        place = {"x0": left + size / 2, "dx": size, "y0": top + size / 2, "dy": size}
        title = f"{in_template(caption)}<br>"
        if isinstance(picture[0][0], list):
            colors = [[[_byte(c) for c in pixel] for pixel in row] for row in picture]
            template = f"{title}red, green, blue: %{{z}}<extra></extra>"
            canvas.add(mark, type="image", z=colors, hovertemplate=template, **place)
        else:
            _picture(canvas, mark, picture, place, title)
        canvas.write(safe(caption), left + 0.46, top - 0.02, size=11)


def _picture(canvas: Canvas, mark: Tiles, picture: list[list[float]], place: Json, title: str) -> None:
    values = [value for row in picture for value in row]
    colors = _DIVERGING if mark.scale == "diverging" else _GRAY
    low, high = color_ends(mark, min(values), max(values))
    scale: Json = {"zmin": low, "zmax": high, "colorscale": colors, "showscale": False}
    if mark.low is not None:
        name = canvas.color_axis = f"coloraxis{canvas.suffix}"
        canvas.layout[name] = {"cmin": low, "cmax": high, "colorscale": colors, "colorbar": _color_bar("")}
        scale = {"coloraxis": name}
    canvas.add(
        mark, type="heatmap", z=picture, hovertemplate=f"{title}%{{z:.4g}}<extra></extra>", **scale, **place
    )


def _steps(colors: list[str]) -> list[tuple[float, str]]:
    n = len(colors)
    return [stop for at, color in enumerate(colors) for stop in ((at / n, color), ((at + 1) / n, color))]


def _color_bar(unit: str) -> Json:
    return {"title": {"text": safe(unit), "side": "right"}, "thickness": 12, "outlinewidth": 0}


def _byte(share: float) -> int:
    return round(255 * min(max(share, 0.0), 1.0))

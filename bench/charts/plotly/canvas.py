"""One panel's traces, shapes and texts in plotly's lists."""

from typing import Any

from bench.charts.chart import Bars, Heatmap, Mark, Panel, Tiles
from bench.charts.plotly.escape import safe

Json = dict[str, Any]


class Canvas:
    """One panel that is being added to plotly's lists.

    Attributes:
        suffix: of its axes' names in the layout, empty for the first panel.
        color_axis: the name of its color bar's axis, None without one.
        named: name and color of the categories of its map.
        heights: of the stacked bars so far, by category.
    """

    def __init__(
        self, panel: Panel, at: int, numbers: dict[str, int], data: list[Json], layout: Json
    ) -> None:
        self.panel, self.numbers, self.data, self.layout = panel, numbers, data, layout
        self.suffix = "" if at == 0 else str(at + 1)
        self.axes = {"xaxis": f"x{self.suffix}", "yaxis": f"y{self.suffix}"}
        bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
        self.categories = list(dict.fromkeys(name for mark in bars for name in mark.categories))
        self.color_axis: str | None = None
        self.named: list[tuple[str, str]] = []
        self.heights = dict.fromkeys(self.categories, 0.0)
        self.rules = 0

    def add(self, mark: Mark, **trace: Any) -> None:
        """Put a trace on this panel's axes."""
        legend = (
            {} if isinstance(mark, Heatmap | Tiles) or not mark.name else {"legendgroup": safe(mark.name)}
        )
        self.data.append({"name": safe(getattr(mark, "name", "")), **legend, **self.axes, **trace})

    def write(
        self, text: str, x: float, y: float, *, size: int, shift: int = 0, within: bool = False
    ) -> None:
        """Put text above a point; `within` counts in shares of the panel."""
        of = " domain" if within else ""
        note = {"text": text, "x": x, "y": y, "showarrow": False, "xanchor": "center", "yanchor": "bottom"}
        refs = {"xref": f"{self.axes['xaxis']}{of}", "yref": f"{self.axes['yaxis']}{of}"}
        name = {"name": "title"} if within else {}
        self.layout["annotations"].append({**note, **name, **refs, "font": {"size": size}, "yshift": shift})

"""Charts: what a figure shows, as plain data that every renderer draws from."""

from bench.charts.chart import (
    Axis,
    Bars,
    Chart,
    Heatmap,
    Histogram,
    Line,
    Mark,
    Panel,
    Points,
    Rule,
    Tiles,
    load_chart,
)

__all__ = [
    "Axis",
    "Bars",
    "Chart",
    "Heatmap",
    "Histogram",
    "Line",
    "Mark",
    "Panel",
    "Points",
    "Rule",
    "Tiles",
    "load_chart",
]

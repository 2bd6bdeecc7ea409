"""Charts that between them hold every mark, gaps, logarithmic axes and names nobody would wish for."""

import numpy as np

from bench.charts import Axis, Bars, Chart, Heatmap, Histogram, Line, Mark, Panel, Points, Rule, Tiles

#: Ends a script or a comment, runs one, is markup, a formula, a template, no letter of any font.
NASTY = "</script><!--<script>alert(1)</script>\"'&amp; $x^2$ %{x} {{ 7 * 7 }} <b>b</b> _\u4e2d\u2028"

RAMP = np.linspace(-1, 1, 8)


def heatmap(**changes: object) -> Heatmap:
    fields = {"x": RAMP.tolist(), "y": [0.0, 0.5, 2.0], "z": [[*RAMP[:7], None]] * 3, "unit": "logits"}
    return Heatmap.model_validate(fields | changes)


MARKS: dict[str, Mark] = {
    "line": Line(name="line", x=[0, 1, 2, 3, 4], y=[1, None, 3, 4, 5]),
    "band": Line(
        name="band", x=[0, 1, 2, 3], y=[1, 2, None, 4], low=[0.5, 1, None, 3], high=[2, 3, None, 5], step=True
    ),
    "markers": Line(name="markers", x=[1, 2], y=[3, 4], markers=True),
    "nothing": Line(name="nothing", x=[1, 2], y=[None, None], low=[None, None], high=[None, None]),
    "points": Points(name="points", x=[0.5, 1.5], y=[2, 3], labels=["a", "b"]),
    "many points": Points(name="many", x=[float(at) for at in range(300)], y=[1.0] * 300),
    "bars": Bars(name="bars", categories=["u", "v"], values=[1, None], low=[0.5, None], high=[1.5, None]),
    "stacked bars": Bars(name="stacked", categories=["u", "v"], values=[1, None], stacked=True),
    "histogram": Histogram(name="histogram", edges=[0, 1, 2, 5], values=[3, 4, 5]),
    "heat map": heatmap(scale="diverging", contour=0.1),
    "flat heat map": heatmap(z=[[1.0] * 8] * 3, contour=1.0),
    "empty heat map": heatmap(z=[[None] * 8] * 3),
    "cell": Heatmap(x=[1], y=[2], z=[[3]]),
    "classes": heatmap(z=[[0, 0, 1, 1, 2, 2, None, 2]] * 3, scale="categorical", names=["a", "b", "c"]),
    "regions": heatmap(z=[[float(7 * at - 3) for at in range(8)]] * 3, scale="categorical"),
    "tiles": Tiles(captions=list("abcdefghij"), values=np.eye(4)[None].repeat(10, 0).tolist()),
    "signed tiles": Tiles(captions=["a"], values=[[[-1.0, 2.0]]], scale="diverging"),
    "colored tiles": Tiles(captions=["a", "b"], values=np.full((2, 3, 3, 3), 0.5).tolist()),
    "no tiles": Tiles(captions=[], values=[]),
    "rule": Rule(name="rule", x=1.0),
    "crossing rules": Rule(x=1.0, y=2.0),
}


def chart(*panels: Panel, name: str = "example") -> Chart:
    return Chart(
        name=name, title="What it shows", source="P1, figure 1", caption="How to read it.", panels=[*panels]
    )


def panel(*marks: Mark, log: bool = False, **fields: object) -> Panel:
    axes = {"x": Axis(label="x (m)", log=log), "y": Axis(label="y (s)", log=log)}
    return Panel.model_validate({**axes, "marks": [*marks], **fields})


def everything() -> Chart:
    return chart(*(panel(mark, title=name) for name, mark in MARKS.items()), name="everything")


def hostile() -> Chart:
    """The same text in every place that takes one."""
    axis = Axis(label=NASTY)
    named = Axis(label=NASTY, ticks=[0, 1], tick_labels=[NASTY, NASTY])
    marks: list[list[Mark]] = [
        [Line(name=NASTY, x=[0, 1], y=[0, 1], low=[0, 0], high=[1, 2]), Rule(name=NASTY, y=1)],
        [Points(name=NASTY, x=[0], y=[1], labels=[NASTY])],
        [Bars(name=NASTY, categories=[NASTY, "other"], values=[1, 2])],
        [Histogram(name=NASTY, edges=[0, 1], values=[1])],
        [Heatmap(name=NASTY, x=[0, 1], y=[0, 1], z=[[0, 1], [1, 0]], unit=NASTY)],
        [
            Heatmap(
                x=[0, 1], y=[0, 1], z=[[0, 1], [1, 0]], unit=NASTY, scale="categorical", names=[NASTY, NASTY]
            )
        ],
        [Tiles(captions=[NASTY], values=[[[0.0, 1.0]]])],
    ]
    panels = [
        Panel(title=NASTY, x=named if at == 0 else axis, y=axis, marks=own) for at, own in enumerate(marks)
    ]
    return Chart(name="hostile", title=NASTY, source=NASTY, caption=NASTY, panels=panels)

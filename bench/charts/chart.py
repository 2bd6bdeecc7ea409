"""A figure as plain data: panels, axes and marks; no torch, no drawing library.

Renderers draw the same chart as PNG, as SVG, as an interactive page and as a table.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.core.errors import UserError
from bench.core.files import read_json, write_text
from bench.core.record import describe

#: A missing value (None) leaves a gap.
Numbers = list[float | None]
#: Ends of intervals; absent from the JSON of a chart without any.
Ends = Annotated[Numbers, Field(exclude_if=lambda ends: not ends)]
#: Texts that most charts do without; absent from their JSON.
Texts = Annotated[list[str], Field(exclude_if=lambda texts: not texts)]
#: The cells of a map, as exactly as colors and tooltips show them.
Cells = Annotated[
    list[list[float | None]],
    AfterValidator(lambda rows: [[None if z is None else float(f"{z:.6g}") for z in row] for row in rows]),
]
Scale = Literal["sequential", "diverging", "categorical"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Axis(_Part):
    """A label with its unit, and how the axis runs.

    Attributes:
        label: with the unit, such as "ε (ℓ∞, pixels in [0, 1])".
        log: logarithmic; what is not above zero leaves a gap.
        low, high: ends; None leaves them to the data.
        ticks: where to mark the axis, with `tick_labels` instead of numbers where given (names of classes).
    """

    label: str = ""
    log: bool = False
    low: float | None = None
    high: float | None = None
    ticks: list[float] = []
    tick_labels: list[str] = []

    @model_validator(mode="after")
    def _fits(self) -> "Axis":
        if self.log and any(end is not None and end <= 0 for end in (self.low, self.high)):
            raise ValueError(f"a logarithmic axis has ends above 0, got {self.low} and {self.high}")
        if self.tick_labels and not self.ticks:
            raise ValueError("tick_labels need ticks")
        return _equally_long(self, "ticks", "tick_labels")

    def name_of(self, value: float) -> str:
        """The label of the tick next to a value; empty where numbers are."""
        named = zip(self.ticks, self.tick_labels, strict=False)
        return min(named, key=lambda each: abs(each[0] - value), default=(0.0, ""))[1]


class Line(_Part):
    """y over x, with a band from `low` to `high` where they are given.

    Attributes:
        detail: what distinguishes it from other lines of its name, such as "seed 1".
        step: hold each value until the next x.
        markers: mark the points.
    """

    kind: Literal["line"] = "line"
    name: str = ""
    detail: Annotated[str, Field(exclude_if=lambda detail: not detail)] = ""
    x: list[float]
    y: Numbers
    low: Numbers = []
    high: Numbers = []
    step: bool = False
    markers: bool = False

    @model_validator(mode="after")
    def _equal(self) -> "Line":
        return _equally_long(self, "x", "y", "low", "high")


class Points(_Part):
    """Separate points.

    Attributes:
        labels: what each point is.
        low, high: the interval of each y.
        x_low, x_high: the interval of each x.
        groups: a second property of each point, which gives it its color; the mark gives its shape then.
        links: where each point leads; only pages follow them.
    """

    kind: Literal["points"] = "points"
    name: str = ""
    x: list[float]
    y: list[float]
    labels: list[str] = []
    low: Ends = []
    high: Ends = []
    x_low: Ends = []
    x_high: Ends = []
    groups: Texts = []
    links: Texts = []

    @model_validator(mode="after")
    def _equal(self) -> "Points":
        return _equally_long(self, "x", "y", "labels", "low", "high", "x_low", "x_high", "groups", "links")


class Bars(_Part):
    """One bar for each category, with its interval where given; the bars of several marks are side by side.

    `stacked` bars are on top of those of earlier marks instead, and have no intervals.
    """

    kind: Literal["bars"] = "bars"
    name: str = ""
    categories: list[str]
    values: Numbers
    low: Numbers = []
    high: Numbers = []
    stacked: bool = False

    @model_validator(mode="after")
    def _equal(self) -> "Bars":
        if self.stacked and (self.low or self.high):
            raise ValueError("stacked bars have no intervals")
        return _equally_long(self, "categories", "values", "low", "high")


class Histogram(_Part):
    """Counts or shares in the bins between `edges` [n + 1].

    `sample` may hold what was counted, for other bins later; it is not saved.
    """

    kind: Literal["histogram"] = "histogram"
    name: str = ""
    edges: list[float]
    values: list[float]
    sample: list[float] = Field(default=[], exclude=True, repr=False)

    @model_validator(mode="after")
    def _bins(self) -> "Histogram":
        if len(self.edges) != len(self.values) + 1:
            raise ValueError(f"expected {len(self.values) + 1} edges, got {len(self.edges)}")
        return self


class Heatmap(_Part):
    """Values over a grid, `z[row][column]` at `y[row]`, `x[column]`.

    Attributes:
        unit: what the colors mean.
        scale: "diverging" is centered on zero; "categorical" gives equal integers equal colors.
        low, high: ends of the colors, both or neither; None leaves them to the values. A diverging scale stays
            centered on zero and reaches as far as the farther end.
        contour: draw the line where z has this value.
        names: what the integers 0, 1, … of a categorical map mean.
        neutral: which of them is gray, for "none of the others".
    """

    kind: Literal["heatmap"] = "heatmap"
    name: str = ""
    x: list[float]
    y: list[float]
    z: Cells
    unit: str = ""
    scale: Scale = "sequential"
    low: float | None = None
    high: float | None = None
    contour: float | None = None
    names: list[str] = []
    neutral: int | None = None

    @model_validator(mode="after")
    def _grid(self) -> "Heatmap":
        if len(self.z) != len(self.y) or any(len(row) != len(self.x) for row in self.z):
            raise ValueError(f"expected z of {len(self.y)} rows of {len(self.x)} values")
        if self.neutral is not None and not 0 <= self.neutral < len(self.names):
            raise ValueError(f"neutral is one of the {len(self.names)} names, got {self.neutral}")
        return _with_ends(self)


class Tiles(_Part):
    """Small pictures in a row or a grid, one caption each.

    Attributes:
        values: pictures [n][h][w], gray or signed; or [n][h][w][3], RGB in [0, 1].
        scale: for gray pictures; "diverging" is centered on zero.
        low, high: ends of the colors of gray pictures, as of a heat map; without them each picture is drawn over
            its own range.
    """

    kind: Literal["tiles"] = "tiles"
    captions: list[str]
    values: list[list[list[float]]] | list[list[list[list[float]]]]
    scale: Scale = "sequential"
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _equal(self) -> "Tiles":
        for picture in self.values:
            rows: list[list[Any]] = [*picture]
            pixels = [pixel for row in rows for pixel in row]
            colors = {len(pixel) if isinstance(pixel, list) else 1 for pixel in pixels}
            if not pixels or len({len(row) for row in rows}) > 1 or colors not in ({1}, {3}):
                raise ValueError(
                    "expected pictures of equally long rows, each pixel a number or red, green, blue"
                )
            if self.low is not None and colors == {3}:
                raise ValueError("low and high are for gray pictures, these are red, green, blue")
        return _with_ends(_equally_long(self, "captions", "values"))


class Rule(_Part):
    """A thin line across the panel at x or at y, to compare with."""

    kind: Literal["rule"] = "rule"
    name: str = ""
    x: float | None = None
    y: float | None = None


Mark = Annotated[Line | Points | Bars | Histogram | Heatmap | Tiles | Rule, Field(discriminator="kind")]


class Panel(_Part):
    """One pair of axes; a heat map or tiles fill a panel of their own."""

    title: str = ""
    x: Axis = Field(default_factory=Axis)
    y: Axis = Field(default_factory=Axis)
    square: bool = Field(default=False, description="equal units on both axes")
    marks: Annotated[list[Mark], Field(min_length=1)]

    @model_validator(mode="after")
    def _bars(self) -> "Panel":
        if len({mark.stacked for mark in self.marks if isinstance(mark, Bars)}) > 1:
            raise ValueError("the bars of a panel are all stacked, or none is")
        return self


class Chart(_Part):
    """A figure.

    Attributes:
        name: of its files: lower case, digits and hyphens.
        title: what it shows.
        source: the paper's figure it answers to, such as "P1, figure 5"; empty for our own.
        caption: how to read it, and what it was measured on.
        rows: how many panels in turn belong together and stand in a row of their own; by default all of them flow.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
    title: str
    source: str = ""
    caption: str = ""
    panels: Annotated[list[Panel], Field(min_length=1)]
    rows: list[Annotated[int, Field(ge=1)]] = []

    @model_validator(mode="after")
    def _all_placed(self) -> "Chart":
        if self.rows and sum(self.rows) != len(self.panels):
            raise ValueError(f"expected rows of {len(self.panels)} panels in all, got {self.rows}")
        return self

    def save(self, path: Path) -> None:
        """Write the chart as JSON, whole or not at all."""
        write_text(path, self.model_dump_json())


def load_chart(path: Path) -> Chart:
    """Read and validate a chart.

    Raises:
        UserError: when it is missing, no JSON, or no chart.
    """
    try:
        return Chart.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is not a valid chart: {describe(error)}") from None


def _equally_long(part: Any, *names: str) -> Any:
    lengths = {name: len(getattr(part, name)) for name in names if getattr(part, name)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected equally long lists, got {lengths}")
    return part


def _with_ends(part: Any) -> Any:
    ends = (part.low, part.high)
    if ends == (None, None):
        return part
    if part.scale == "categorical":
        raise ValueError("low and high are for continuous colors, not for categories")
    if None in ends or part.low >= part.high:
        raise ValueError(f"expected low below high, or neither, got {part.low} and {part.high}")
    return part

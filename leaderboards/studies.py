"""The papers' tables and regressions with our numbers beside theirs, from the results of `bench study`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.charts import load_chart
from bench.charts.numbers import minus, number, within
from bench.charts.svg.figure import figure
from bench.core.errors import UserError
from bench.core.files import read_json
from bench.core.names import short_hash, slug
from bench.core.record import describe
from bench.core.regression import Fit
from leaderboards.left_out import LeftOut
from leaderboards.text import count, p_value, titled

RESULTS = "results.json"
#: What `find_studies` and `read_studies` read below a folder of runs.
PATTERNS = (f"studies/*/{RESULTS}", "studies/*/charts/*.json")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Cell(_Part):
    """Our value in the unit of the record, and the paper's."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    paper: float | None = None
    reason: str = ""


class Column(_Part):
    """A column of a paper's table; a paper's percentages stand beside our fractions."""

    name: str
    title: str = ""
    paper_unit: str | None = None


class TableRow(_Part):
    """A row of a paper's table."""

    name: str
    cells: dict[str, Cell]
    records: list[str] = []
    alarms: list[str] = []


class Claim(_Part):
    """A claim and what our numbers say of it."""

    claim: str
    verdict: str
    difference: float | None = None
    p_value: float | None = None
    test: str = ""


class _Fit(_Part):
    n: int = 0
    runs: int = 0
    slope: float | None = None
    error: float | None = None
    run_error: float | None = None
    run_p_value: float | None = None
    reason: str = ""

    @property
    def told(self) -> tuple[str, str]:
        """The slope and its interval."""
        if self.slope is None:
            return "—", self.reason
        ends = Fit(self.n, self.runs, self.slope, error=self.error, run_error=self.run_error).interval
        if ends is None:
            return number(self.slope), ""
        slope, low, high = (within(value, *ends) for value in (self.slope, *ends))
        return slope, f"{low} to {high}"


class _Published(_Part):
    slope: float | None = None


class Regression(_Part):
    """A regression of a paper, ours beside it."""

    quantity: str
    network: str
    dataset: str
    fit: _Fit
    published: _Published | None = None
    run_verdict: str = ""


class _Title(_Part):
    title: str
    source: str = ""
    text: str = ""


class _Results(_Part):
    title: str = ""
    source: str = ""
    text: str = ""
    study: _Title | None = None
    command: str = ""
    summary: list[str] = []
    columns: list[Column] = []
    rows: list[TableRow] = []
    claims: list[Claim] = []
    regressions: list[Regression] = []
    records: list[str] = Field(default=[])


@dataclass(frozen=True)
class Study:
    """One study: its name and source, its table or regressions, and what it says of the paper's claims.

    Attributes:
        text: what it is about, in paragraphs.
        charts: those of its page, drawn.
    """

    page: str
    title: str
    source: str
    text: str
    results: _Results
    charts: tuple[Markup, ...] = ()

    @property
    def verdict(self) -> str:
        """How many claims have which verdict."""
        found = [claim.verdict for claim in self.results.claims]
        found += [each.run_verdict for each in self.results.regressions if each.published or each.run_verdict]
        counts = Counter(filter(None, found))
        told = [f"{times} {verdict}" for verdict, times in sorted(counts.items())]
        return f"{count(sum(counts.values()), 'claim')}: {', '.join(told)}" if told else "no claim judged"

    @property
    def records(self) -> set[str]:
        """The ids of its records."""
        return {*self.results.records, *(name for row in self.results.rows for name in row.records)}


def find_studies(folder: Path) -> list[Path]:
    """The results of the studies in a folder of runs."""
    return sorted((folder / "studies").glob(f"*/{RESULTS}"))


def read_studies(paths: Iterable[Path]) -> tuple[list[Study], list[LeftOut]]:
    """Read the results of studies; those that cannot be read are left out with the reason."""
    found, left_out = {}, []
    for path in sorted(set(paths)):
        try:
            results = _Results.model_validate(read_json(path))
        except ValidationError as error:
            left_out.append(LeftOut(path, f"no results of a study: {describe(error)}"))
            continue
        except UserError as error:
            left_out.append(LeftOut.because(path, error))
            continue
        about = results.study or _Title(
            title=results.title or path.parent.name, source=results.source, text=results.text
        )
        page = f"{slug(about.title)}-{short_hash(results.model_dump(mode='json'))}"
        charts, unread = _read_charts(path.parent / "charts")
        left_out += unread
        found[page] = Study(page, about.title, about.source, about.text, results, tuple(charts))
    return sorted(found.values(), key=lambda study: (study.title, study.page)), left_out


def _read_charts(folder: Path) -> tuple[list[Markup], list[LeftOut]]:
    """The charts in a folder, and those that cannot be read."""
    found, left_out = [], []
    # A link could point at anything on the machine that builds the site.
    for path in sorted(folder.glob("*.json")) if not folder.is_symlink() else []:
        try:
            if path.is_file() and not path.is_symlink():
                found.append(_drawn(path))
        except UserError as error:
            left_out.append(LeftOut.because(path, error))
    return found, left_out


def _drawn(path: Path) -> Markup:
    chart = load_chart(path)
    try:
        return figure(chart)
    except Exception as error:
        # One bad chart must not stop the site.
        raise UserError(f"{path} cannot be drawn: {type(error).__name__}: {error}") from error


def headings(columns: Sequence[Column], titles: Mapping[str, str]) -> dict[str, str]:
    """Name of a column → its heading, with its unit; `titles` are those of scores."""
    named = {each.name: each.title or titled(each.name, titles) for each in columns}
    return {each.name: named[each.name] + (", %" if each.paper_unit == "%" else "") for each in columns}


def our_value(cell: Cell, column: Column) -> tuple[str, str]:
    """Our value in the paper's unit, and its interval."""
    if cell.value is None:
        return "—", cell.reason
    ends = (cell.low, cell.high)
    percent = column.paper_unit == "%" and cell.unit == "fraction"
    told = (lambda value: minus(f"{100 * value:.1f}")) if percent else (lambda value: within(value, *ends))
    between = f"{told(cell.low)} to {told(cell.high)}" if None not in ends else ""
    return told(cell.value), between


def judged(claim: Claim, columns: Sequence[Column]) -> str:
    """The numbers behind a verdict; differences of a column of percentages are in points."""
    percent = claim.claim.rpartition(" ")[2] in [each.name for each in columns if each.paper_unit == "%"]
    parts = []
    if claim.difference is not None:
        told = minus(f"{100 * claim.difference:.1f} points") if percent else number(claim.difference)
        parts.append(f"difference {told}")
    parts += [p_value(claim.p_value) if claim.p_value is not None else "", claim.test]
    return ", ".join(filter(None, parts))


def studies_of(studies: Sequence[Study], records: Iterable[str]) -> list[Any]:
    """The studies that some of the records are part of."""
    ids = set(records)
    return [study for study in studies if study.records & ids]

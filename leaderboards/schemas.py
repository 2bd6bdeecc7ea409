"""What each JSON file of a site holds, as models whose JSON schemas the site publishes."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.charts import Chart
from bench.core.limits import Count
from bench.core.record import Record


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Identity(_Part):
    """What the entries of a board share; two results stand on one board when all of it agrees."""

    dataset: str
    fingerprint: str = Field(description="SHA-256 of all pixels and labels")
    evaluated: str = Field(description="SHA-256 of the attacked images and their labels")
    norm: Literal["linf", "l2"]
    eps: str = Field(description="ε as an exact fraction in lowest terms")
    battery: str
    version: str = Field(description="of the battery")


class SiteBoard(Identity):
    """A board in the list of a site."""

    title: str
    page: str = Field(description="path without suffix; .html, .csv and .json are there")
    entries: Count
    newest: str = Field(description="day of the newest result, YYYY-MM-DD")


class SiteFile(_Part):
    """`site.json`: the boards of a site, largest evaluation of a data set and threat first."""

    format: Literal["regionbench.site/1"]
    generator: str
    version: str
    boards: list[SiteBoard]


class ScoreFile(_Part):
    """A score over training seeds; a field without a value is left out."""

    value: float | None = Field(
        default=None, description="mean over the seeds; left out when none has a value"
    )
    std: float | None = Field(default=None, description="sample standard deviation over training seeds")
    low: float | None = Field(default=None, description="lower end of the interval for the choice of images")
    high: float | None = None
    n: Count | None = Field(default=None, description="examples behind the value of a seed")
    unit: str
    seeds: Count = Field(description="training seeds that have a value")
    reason: str | None = Field(default=None, description="why there is no value, or what to know about it")


class AlarmFile(_Part):
    """An alarm: in how many seeds it was raised, and in how many it could be checked."""

    raised: Count
    checked: Count
    seeds: Count


class _EntryPart(_Part):
    defense: str
    hyperparameters: dict[str, Any]
    model: str
    seeds: list[int]
    records: list[str] = Field(description="ids of the newest record of each seed")
    scores: dict[str, ScoreFile]
    alarms: dict[str, AlarmFile]
    in_doubt: bool = Field(description="whether a raised alarm has no answer, so that the entry has no place")
    answers: list[str] = Field(description="what answered the raised alarms")


class BoardEntry(_EntryPart):
    """An entry of a board, with its accuracies and the scores of the board's columns."""

    rank: Count | None
    rank_shared: bool
    rank_method: Literal["paired", "intervals", ""] = Field(
        description="how it was compared with the first of its group"
    )
    rank_p_value: float | None
    page: str
    all_scores: str = Field(description="path of the file with every score")


class BoardFile(Identity):
    """`boards/….json`: a board with its entries, best first."""

    format: Literal["regionbench.board/2"]
    n: Count = Field(description="test images under attack")
    eps_written: str
    entries: list[BoardEntry]


class EntryBoard(Identity):
    """The board of an entry."""

    page: str


class EntryFile(_EntryPart):
    """`entries/….json`: an entry with every score."""

    format: Literal["regionbench.entry/1"]
    board: EntryBoard
    files: list[str] = Field(description="the records")


class DrawnFile(_Part):
    """The files of an entry."""

    key: str = Field(description="SHA-256 of all that they were drawn from")
    files: list[str] = Field(description="paths in the site")
    figures: list[dict[str, Any]] = Field(description="the figures on its page")


class ManifestFile(_Part):
    """`manifest.json`: what the next build of the site may use again."""

    format: Literal["regionbench.manifest/2"]
    code: str = Field(description="SHA-256 of the code that drew it")
    key: str = Field(description="SHA-256 of what was asked for besides records")
    counts: dict[str, Count] = Field(
        description="boards, entries and records; empty where something was left out"
    )
    records: dict[str, dict[str, str]] = Field(
        description="record → outcomes of its images, as base64 of bits"
    )
    inputs: list[tuple[str, list[str], bool, list[list[str]]]] = Field(
        description="SHA-256 of a record, path and SHA-256 of its arrays, whether they were there, and its figures"
    )
    entries: dict[str, DrawnFile]
    files: dict[str, str] = Field(description="path in the site → SHA-256, but for this file")
    sha256: str


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of each kind of JSON file of a site, by name."""
    models: dict[str, type[BaseModel]] = {
        "record": Record,
        "site": SiteFile,
        "board": BoardFile,
        "entry": EntryFile,
        "chart": Chart,
        "manifest": ManifestFile,
    }
    return {name: model.model_json_schema() for name, model in models.items()}

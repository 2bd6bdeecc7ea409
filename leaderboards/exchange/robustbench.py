"""RobustBench's `model_info` files: read them for the boards, and write entries as such files.

A file is called ID.json and lies in DATASET/THREAT/. Percentages are strings such as "59.53", ε a fraction such as
"8/255"; a field without a value is left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.core.errors import UserError
from bench.core.files import read_json
from bench.core.limits import exact_number
from bench.core.names import AUTOATTACK, CLEAN_ACCURACY, slug
from bench.core.record import describe
from bench.core.values import shown
from leaderboards.board import Board
from leaderboards.card import Card
from leaderboards.entry import Entry, Summary
from leaderboards.left_out import LeftOut
from leaderboards.text import count

#: Our norms → RobustBench's folders.
THREATS = {"linf": "Linf", "l2": "L2"}
#: Longest text of a file that is read.
_LONGEST = 2_000


def _percent(value: Any) -> Any:
    """A percentage as text. A number of at most 1 is a fraction, as in some of RobustBench's files."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        raise ValueError(f"expected a percentage such as 59.53, got {shown(value)}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"expected a percentage such as 59.53, got {shown(value)}") from None
    if isinstance(value, int | float) and number <= 1:
        number *= 100
    if not 0 <= number <= 100:
        raise ValueError(f"expected a percentage between 0 and 100, got {shown(value)}")
    return value.strip() if isinstance(value, str) else f"{number:.2f}"


def _radius(value: Any) -> Any:
    """ε as text; a float that is a multiple of 1/255 but for rounding becomes that fraction."""
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        levels = round(value * 255)
        value = f"{levels}/255" if abs(value * 255 - levels) < 1e-6 and levels else f"{value:.12g}"
    try:
        exact_number(value)
    except UserError as error:
        raise ValueError(str(error)) from None
    return value.strip()


Text = Annotated[str, Field(max_length=_LONGEST)]
Flag = Annotated[bool, BeforeValidator(lambda value: False if value is None else value)]
Percent = Annotated[str | None, BeforeValidator(_percent)]
Radius = Annotated[str | None, BeforeValidator(_radius)]


class ModelInfo(BaseModel):
    """The content of a file; fields that are not named here are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    link: Text | None = None
    name: Text
    authors: Text | None = None
    additional_data: bool | None = None
    number_forward_passes: int | None = Field(default=None, ge=1)
    dataset: Text
    venue: Text | None = None
    architecture: Text | None = None
    eps: Radius = None
    clean_acc: Percent = None
    reported: Percent = None
    autoattack_acc: Percent = None
    external: Percent = None
    footnote: Text | None = None
    unreliable: Flag = False

    def as_json(self) -> dict[str, Any]:
        """The content of the file: no field without a value, and `unreliable` only where it is."""
        fields = {name: value for name, value in self.model_dump().items() if value is not None}
        if not self.unreliable:
            fields.pop("unreliable", None)
        return fields


@dataclass(frozen=True)
class Published:
    """A result that was published elsewhere.

    Attributes:
        id: the name of its file.
        norm: of its threat, as records name it.
    """

    id: str
    norm: str
    info: ModelInfo

    @property
    def link(self) -> str:
        """The address of its paper; "" unless it is one of http or https."""
        link = self.info.link or ""
        return link if link.startswith(("https://", "http://")) else ""

    @cached_property
    def lowest(self) -> float:
        """The lowest robust accuracy that is known, in per cent; −1 where none is."""
        known = [float(each) for each in (self.info.autoattack_acc, self.info.external) if each is not None]
        return min(known, default=-1.0)

    def fits(self, board: Board) -> bool:
        """Whether it is about the data set and the threat of a board."""
        eps = self.info.eps
        same = (self.info.dataset, self.norm) == (board.dataset, board.norm)
        return same and eps is not None and exact_number(eps) == board.results[0].eps


def read_model_info(path: Path) -> Published:
    """Read a file of RobustBench's.

    Args:
        path: DATASET/THREAT/ID.json; THREAT is Linf or L2.

    Raises:
        UserError: for another threat, or a file that is no such JSON.
    """
    norms = {name.lower(): norm for norm, name in THREATS.items()}
    if path.parent.name.lower() not in norms:
        raise UserError(f"{path}: expected a file in a folder Linf or L2, got {shown(path.parent.name)}")
    try:
        info = ModelInfo.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: {describe(error)}") from None
    return Published(path.stem, norms[path.parent.name.lower()], info)


def find_published(folder: Path) -> tuple[list[Published], list[LeftOut]]:
    """All files of RobustBench's below a folder, and those that cannot be read.

    Raises:
        UserError: when the folder does not exist or holds no such file.
    """
    paths = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    if not paths:
        raise UserError(f"no RobustBench files DATASET/THREAT/ID.json in {folder}")
    found, left_out = [], []
    for path in paths:
        try:
            found.append(read_model_info(path))
        except UserError as error:
            left_out.append(LeftOut.because(path, error))
    return found, left_out


def model_infos(boards: Iterable[Board], cards: Mapping[str, Card]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path and the content of a file for every entry with a clean accuracy and AutoAttack's.

    Args:
        cards: defense → what is known of it.
    """
    for board in boards:
        for entry in board.entries:
            clean, attacked = entry.scores.get(CLEAN_ACCURACY), entry.scores.get(AUTOATTACK)
            if clean is None or attacked is None or clean.mean is None or attacked.mean is None:
                continue
            info = _model_info(board, entry, clean, attacked, cards.get(entry.defense.name))
            yield f"model_info/{slug(board.dataset)}/{THREATS[board.norm]}/{entry.page}.json", info.as_json()


def _model_info(
    board: Board, entry: Entry, clean: Summary, attacked: Summary, card: Card | None
) -> ModelInfo:
    worst = entry.worst_case.mean if entry.worst_case else None
    lower = worst is not None and attacked.mean is not None and worst < attacked.mean
    said = [
        f"Measured by regionbench on {count(board.n, 'test image')}, battery {board.battery} {board.version}, "
        f"{count(len(entry.results), 'training seed')}."
    ]
    if entry.raised:
        said.append(f"Alarms: {', '.join(alarm.label for alarm in entry.raised)}.")
    return ModelInfo(
        link=(card.link or None) if card else None,
        name=f"{entry.defense.name} on {entry.model}",
        authors=(card.source or None) if card else None,
        additional_data=entry.extra_data,
        number_forward_passes=1 if entry.record.training else None,
        dataset=board.dataset,
        architecture=entry.model,
        eps=_fraction(board),
        clean_acc=_written(clean.mean),
        autoattack_acc=_written(attacked.mean),
        external=_written(worst) if lower else None,
        footnote=" ".join(said)[:_LONGEST],
        unreliable=entry.in_doubt,
    )


def _fraction(board: Board) -> str:
    """ε as RobustBench writes it: under ℓ∞ a multiple of 1/255 where it is one."""
    exact: Fraction = board.results[0].eps
    levels = exact * 255
    return f"{levels}/255" if board.norm == "linf" and levels.denominator == 1 else board.eps


def _written(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}"

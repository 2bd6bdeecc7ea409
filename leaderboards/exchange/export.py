"""Write the entries of boards in a format of others."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from bench.core.files import write_json, write_text
from leaderboards.board import Board
from leaderboards.card import Card
from leaderboards.downloads import boards_csv
from leaderboards.exchange.croissant import SCORES, croissant
from leaderboards.exchange.every_eval import evaluation_logs
from leaderboards.exchange.model_index import model_indexes
from leaderboards.exchange.robustbench import model_infos
from leaderboards.exchange.sarif import sarif_log
from leaderboards.manifest import digest

FORMATS = ("robustbench", "every-eval-ever", "model-index", "croissant", "sarif")


def export(
    boards: Sequence[Board], form: str, out: Path, titles: Mapping[str, str], cards: Mapping[str, Card]
) -> list[Path]:
    """Write files of a format below a folder; files of the same names are replaced.

    Args:
        form: one of `FORMATS`.
        titles: score → title.
        cards: defense → what is known of it.

    Returns:
        The files.

    Raises:
        UserError: when the folder cannot be written.
    """
    if form == "croissant":
        return _croissant(boards, out)
    if form == "sarif":
        write_json(out / "alarms.sarif", sarif_log(boards))
        return [out / "alarms.sarif"]
    made: Iterator[tuple[str, Mapping[str, object]]]
    if form == "robustbench":
        made = model_infos(boards, cards)
    else:
        made = (evaluation_logs if form == "every-eval-ever" else model_indexes)(boards, titles)
    paths = []
    for name, content in made:
        if form == "model-index":
            write_text(out / name, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
        else:
            write_json(out / name, content)
        paths.append(out / name)
    return paths


def _croissant(boards: Sequence[Board], out: Path) -> list[Path]:
    table = boards_csv(boards)
    write_text(out / SCORES, table)
    records, paths = [], [out / SCORES]
    for result in (result for board in boards for result in board.results):
        content = result.published()
        path = out / "records" / result.file
        write_text(path, content.decode())
        records.append((f"records/{result.file}", digest(path.read_bytes())))
        paths.append(path)
    newest = max(board.newest for board in boards)
    write_json(out / "croissant.json", croissant(table, digest((out / SCORES).read_bytes()), records, newest))
    return [*paths, out / "croissant.json"]

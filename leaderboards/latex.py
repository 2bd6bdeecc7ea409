"""A board as a LaTeX table, for a paper."""

from collections.abc import Iterable, Sequence

from bench.core.names import slug
from bench.core.values import printable
from leaderboards.board import Board
from leaderboards.table import MARKS, Cell, Row, make_table

#: Characters that LaTeX reads as markup, or that its fonts lack, and what stands for them.
_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "—": "---",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "†": r"$^\dagger$",
    "ℓ": r"$\ell$",
    "∞": r"$_\infty$",
    "₂": "$_2$",
    "ε": r"$\varepsilon$",
}


def board_latex(board: Board, metrics: Sequence[str] = ()) -> str:
    """A board as a `table` that needs the package booktabs: 95 % intervals small, marks explained in the caption.

    Args:
        board: whose entries are the rows.
        metrics: the scores that are shown; by default the main ones.
    """
    table = make_table(board, metrics)
    marked = any(cell.best for row in table.rows for cell in row.cells)
    caption = f"{table.title}. 95 % intervals in parentheses. {MARKS if marked else ''}".strip()
    head = ["rank", "defense", "network", *table.scores, "alarms"]
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_safe(caption)}}}",
        f"  \\label{{tab:{slug(table.title, 60)}}}",
        f"  \\begin{{tabular}}{{lll{'r' * len(table.scores)}l}}",
        "    \\toprule",
        f"    {_line(map(_safe, head))}",
        "    \\midrule",
        *(f"    {_line(_row(row))}" for row in table.rows),
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _row(row: Row) -> list[str]:
    alarms = _safe(", ".join(row.alarms)) or "none"
    return [
        _safe(row.place),
        rf"\texttt{{{_safe(row.defense)}}}",
        _safe(row.network),
        *map(_score, row.cells),
        alarms,
    ]


def _score(cell: Cell) -> str:
    value = _safe(cell.value)
    value = rf"\textbf{{{value}}}" if cell.best else f"{value}{_safe('†') if cell.tied else ''}"
    return rf"{value} {{\scriptsize ({_safe(cell.between)})}}" if cell.between else value


def _safe(text: str) -> str:
    """Text that LaTeX sets as it stands; letters that its fonts may lack are left to the engine."""
    safe = "".join(_ESCAPES.get(character, character) for character in printable(" ".join(text.split())))
    return safe.replace("$$", "")  # neighboring symbols are one formula

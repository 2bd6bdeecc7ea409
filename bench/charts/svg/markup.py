"""Paths and texts of a drawing as markup; every text is escaped.

Pages have tens of thousands of them, which a template takes five times as long for.
"""

from collections.abc import Iterable

from markupsafe import Markup, escape

from bench.charts.svg.drawing import Path, Picture, Text


def draw(paths: Iterable[Path]) -> Markup:
    """Paths as SVG elements, one a line; those with a link inside it."""
    return Markup("".join(map(_path, paths)))


def write(kind: str, texts: Iterable[Text]) -> Markup:
    """Texts of a class as SVG elements, one a line."""
    return Markup(
        "".join(
            f'<text class="{kind}{text.of and f" {text.of}"}" x="{text.x:.1f}" y="{text.y:.1f}" '
            f'text-anchor="{text.anchor}"{_turned(text)}>'
            f"{escape(text.text)}</text>\n"
            for text in texts
        )
    )


def show(pictures: Iterable[Picture]) -> Markup:
    """Pictures as SVG elements, one a line."""
    return Markup(
        "".join(
            f'<image x="{each.x:.1f}" y="{each.y:.1f}" width="{each.width:.1f}" height="{each.height:.1f}" '
            f'preserveAspectRatio="none" href="data:image/png;base64,{each.png}"/>\n'
            for each in pictures
        )
    )


def table_rows(rows: Iterable[list[str]]) -> Markup:
    """The rows of a table, each headed by its first cell unless that is empty."""
    return Markup("".join(f"<tr>{_head(head)}{''.join(map(_cell, cells))}</tr>\n" for head, *cells in rows))


def _turned(text: Text) -> str:
    return f' transform="rotate(-55 {text.x:.1f} {text.y:.1f})"' if text.turned else ""


def _head(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>' if text else "<td></td>"


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _path(path: Path) -> str:
    classes = " ".join(filter(None, (path.kind, path.color, path.of)))
    dashes = f' stroke-dasharray="{path.dashes}"' if path.dashes else ""
    start = f'<path class="{classes}"{dashes} d="{path.d}"'
    element = f"{start}><title>{escape(path.tooltip)}</title></path>" if path.tooltip else f"{start}/>"
    if path.link:
        element = f'<a href="{escape(path.link)}" aria-label="{escape(path.tooltip)}">{element}</a>'
    return f"{element}\n"

"""Escape text for plotly, which interprets some markup in every string."""

import html


def safe(text: str) -> str:
    """Escape text so that plotly shows it as it is; plotly interprets a small part of HTML in all strings."""
    # Plotly would try to typeset text between dollar signs as a formula.
    return html.escape(text, quote=False).replace("$", "&#36;")


def in_template(text: str) -> str:
    """The same inside a hover template, where %{…} stands for a value."""
    return safe(text).replace("%{", "%\u200b{")

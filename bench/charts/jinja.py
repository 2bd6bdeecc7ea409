"""The templates of pages with charts."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.version import __version__


@cache
def templates() -> Environment:
    """Templates that escape everything that goes in."""
    environment = Environment(
        loader=PackageLoader("bench.charts", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["generator"] = f"regionbench {__version__}"
    return environment

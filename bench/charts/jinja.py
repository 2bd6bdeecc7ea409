"""The templates of pages with charts."""

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from bench.version import __version__


def make_environment(*packages: str) -> Environment:
    """Make an environment that escapes every value; it searches the folder `templates` of each package in turn."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates") for package in packages]),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["generator"] = f"regionbench {__version__}"
    return environment


@cache
def templates() -> Environment:
    """The templates of charts."""
    return make_environment("bench.charts")

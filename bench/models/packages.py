"""Import optional packages, with advice where one is missing."""

from importlib import import_module
from types import ModuleType

from bench.core.errors import UserError, first_line

#: Modules that the optional packages import → how to install each, where pip knows it by another name.
INSTALL = {
    "autoattack": "pip install git+https://github.com/fra31/auto-attack.git",
    "bs4": "pip install beautifulsoup4",
    "pkg_resources": "pip install 'setuptools<81'",
}


def import_package(name: str, asked: str, install: str) -> ModuleType:
    """Import an optional package.

    Args:
        name: of the package.
        asked: what needs it, for messages.
        install: the command that installs it.

    Raises:
        UserError: when it, or a package that it imports, is missing or cannot be imported.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or name).partition(".")[0]
        if missing != name:
            how = INSTALL.get(missing, f"pip install {missing}")
            raise UserError(f"{asked} needs {missing}, which {name} imports: {how}") from error
        raise UserError(f"{asked} needs the optional package {name}: {install}") from error
    except Exception as error:
        # An incompatible release of a dependency can raise any exception.
        raise UserError(
            f"{asked}: the package {name} cannot be imported: {type(error).__name__}: {first_line(error)}"
        ) from error

"""Code of other people: whatever it raises becomes one line that names it.

A plug-in may raise anything, `SystemExit` too, in any method that we call. `register` notes its modules when it is
loaded; `named` then tells from a traceback which plug-in an error comes from.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.core.errors import UserError
from bench.core.files import read_bytes

#: Packages of ours, which are never blamed, and libraries that records name by version.
OURS = ("bench", "defenses", "metrics", "leaderboards")
LIBRARIES = ("torch", "torchvision", "timm", "robustbench")
#: Larger files are no source code.
MOST_BYTES = 2**20
#: Longest message of an error that is repeated.
LENGTH = 300

#: Module → what messages call the plug-ins in it.
_plugins: dict[str, list[str]] = {}
#: The settings that name the plug-ins in use; empty: all that were loaded are.
_used: tuple[str, ...] = ()
#: Module → what its file held when it was loaded: an edit during a long run must not change what a record says.
_contents: dict[str, bytes] = {}


class PluginFailed(UserError):
    """The code of a plug-in raised an error; `__cause__` is that error."""


def register(part: object, module: str, title: str) -> None:
    """Note the modules of a plug-in.

    Args:
        part: a class (its bases count too), a function or any other object.
        module: where it was found.
        title: what messages call it, such as "defense 'mine:Thing'".
    """
    bases = part.__mro__ if isinstance(part, type) else (part,)
    for name in (module, *(getattr(base, "__module__", None) for base in bases)):
        if is_foreign(str(name or "")):
            titles = _plugins.setdefault(str(name), [])
            if title not in titles:
                titles.append(title)
            content_of(str(name))


def is_foreign(module: str) -> bool:
    """Whether a module is neither of ours nor of Python or a library that records name by version."""
    top = module.partition(".")[0]
    return bool(top) and top not in (*OURS, *LIBRARIES) and top not in sys.stdlib_module_names


def file_of(module: str) -> Path | None:
    """The source file of an imported module; None where it has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if isinstance(file, str) and file.endswith(".py") else None


def content_of(module: str) -> bytes | None:
    """What the source file of an imported module held when it was first asked for; None where it has none."""
    path = file_of(module)
    if module not in _contents and path is not None:
        try:
            _contents[module] = read_bytes(path, MOST_BYTES)
        except UserError:
            return None
    return _contents.get(module)


@contextmanager
def calling(title: str) -> Iterator[None]:
    """Give every error that the block raises the name of a plug-in; for a block that only calls its code.

    Raises:
        PluginFailed: for every error but Ctrl-C and those that speak to the user already.
    """
    try:
        yield
    except (KeyboardInterrupt, UserError):
        raise
    except BaseException as error:
        raise PluginFailed(f"{title} failed: {_message(error)}") from error


@contextmanager
def named(*used: str) -> Iterator[None]:
    """Give errors from plug-ins that were loaded the name of the plug-in; for a block that runs our code as well.

    Args:
        used: settings that name the plug-ins in use, such as "mine:Thing+at", in a process that loaded others too.

    Raises:
        PluginFailed: when an error comes from the code of a plug-in; also for an error of ours while one is in use,
            which then says that the plug-in may be the cause.
    """
    global _used
    before, _used = _used, used or _used
    try:
        yield
    except (KeyboardInterrupt, UserError):
        raise
    except BaseException as error:
        if plugin_behind(error):
            raise PluginFailed(told(error)) from error
        titles = _in_use(title for each in _plugins.values() for title in each)
        if titles and isinstance(error, Exception) and not isinstance(error, OSError):
            raise PluginFailed(f"{_message(error)}; the cause may be {' and '.join(titles)}") from error
        raise
    finally:
        _used = before


def call_offering(function: Callable[..., Any], **offered: Any) -> Any:
    """Call a function of someone else with those of the arguments that it takes.

    A parameter of that name gets the argument. A function that needs others gets all of them by position, and one
    that needs none is called without arguments.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some written in C have no signature
        return function(*offered.values())
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {each.name for each in parameters if each.kind not in (*variable, each.POSITIONAL_ONLY)}
    needed = {each.name for each in parameters if each.default is each.empty and each.kind not in variable}
    if needed - (named & offered.keys()):
        return function(*offered.values())
    takes_any = any(each.kind == each.VAR_KEYWORD for each in parameters)
    return function(**{name: value for name, value in offered.items() if takes_any or name in named})


def plugin_behind(error: BaseException) -> str | None:
    """The title of the plug-in that an error comes from, or those of one file; None where it comes from elsewhere.

    An `Exception` comes from a plug-in when any function of it was running. `SystemExit` and the like must be
    raised by it: a signal can interrupt its functions at any place.
    """
    modules = list(_modules(error.__traceback__))[::-1]
    if not isinstance(error, Exception):
        known = [name for name in modules if name in _plugins or name.partition(".")[0] in OURS]
        modules = known[:1]
    titles = next((_plugins[name] for name in modules if name in _plugins), [])
    return " or ".join(_in_use(titles) or titles) or None


def _in_use(titles: Iterable[str]) -> list[str]:
    """The titles of plug-ins in use, each once; the name in a title is in quotes."""
    names = {title: title.partition("'")[2].partition("'")[0] for title in titles}
    return [title for title, name in names.items() if not _used or any(name in word for word in _used)]


def told(error: BaseException) -> str:
    """An error's class and message in one line, and the plug-in that it comes from."""
    title = plugin_behind(error)
    return f"{title} failed: {_message(error)}" if title else _message(error)


def _message(error: BaseException) -> str:
    try:
        message = " ".join(str(error).split())
    except Exception:  # its __str__ is foreign code too
        message = ""
    message = message if len(message) <= LENGTH else f"{message[:LENGTH]}…"
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def _modules(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next

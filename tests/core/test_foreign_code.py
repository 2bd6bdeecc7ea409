"""Plug-ins that fail: one line that names them, and nothing of ours takes their place."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bench.core import foreign_code
from bench.core.errors import UserError
from bench.core.foreign_code import PluginFailed, call_offering, calling, named, plugin_behind, told
from bench.core.registry import load_object

SOURCE = """
import sys

class Odd(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise RuntimeError

def leaves():
    sys.exit(0)

def odd():
    raise Odd("odd")

def mute():
    raise Mute

def wrong():
    raise ValueError("two\\nlines " + "x" * 1000)

def calls(function):
    return function()
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(foreign_code, "_plugins", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    # Libraries add finders of their own while they are imported; only ours go.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "_WorkingFolder"]
    for name in set(sys.modules) - before:
        if name.startswith("zoo_"):
            del sys.modules[name]


def zoo(function: str, source: str = SOURCE, name: str = "zoo_plugin") -> object:
    Path(f"{name}.py").write_text(source)
    return load_object(f"{name}:{function}", "defense")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("leaves", "SystemExit: 0"),
        ("odd", "Odd: odd"),
        ("mute", "failed: Mute"),
        ("wrong", "ValueError: two lines xxx"),
    ],
)
def test_whatever_a_plugin_raises_is_one_line_that_names_it(function: str, message: str) -> None:
    part = zoo(function)
    for context in (named(), calling("defense 'zoo_plugin:calls'")):
        with pytest.raises(PluginFailed, match=message) as error, context:
            part()  # type: ignore[operator]
        assert "defense 'zoo_plugin:" in str(error.value)
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) < 400


def test_an_error_names_every_plugin_of_its_file() -> None:
    zoo("odd")
    part = load_object("zoo_plugin:wrong", "network")
    with (
        pytest.raises(PluginFailed, match=r"^defense 'zoo_plugin:odd' or network 'zoo_plugin:wrong' failed"),
        named(),
    ):
        part()


def test_an_error_names_no_plugin_that_only_earlier_work_used() -> None:
    zoo("odd")
    part = load_object("zoo_plugin:wrong", "network")
    with (
        pytest.raises(PluginFailed, match=r"^network 'zoo_plugin:wrong' failed"),
        named("prs", "zoo_plugin:wrong(a=1)"),
    ):
        part()
    with (
        pytest.raises(PluginFailed, match=r"ours; the cause may be defense 'zoo_plugin:odd'$"),
        named("zoo_plugin:odd+at"),
    ):
        raise ValueError("ours")
    with pytest.raises(ValueError, match="ours"), named("prs"):
        raise ValueError("ours")
    with pytest.raises(PluginFailed, match=r"'zoo_plugin:odd' and network 'zoo_plugin:wrong'$"), named():
        raise ValueError("ours")


def test_our_own_refusal_of_what_a_plugin_asks_at_import_names_it() -> None:
    source = "from defenses.space import Uniform\nspace = Uniform(2, 0)\n"
    with pytest.raises(UserError, match=r"^defense 'zoo_range:x' failed to import: a search range needs two"):
        zoo("x", source, name="zoo_range")


def test_an_error_of_ours_is_not_laid_to_a_plugin_that_was_not_running() -> None:
    with pytest.raises(ZeroDivisionError), named():
        _ = 1 / 0
    calls = zoo("calls")
    with (
        pytest.raises(
            PluginFailed, match=r"ZeroDivisionError: .*; the cause may be defense 'zoo_plugin:calls'"
        ),
        named(),
    ):
        _ = 1 / 0
    with pytest.raises(PluginFailed, match="defense 'zoo_plugin:calls' failed: ZeroDivisionError"), named():
        calls(lambda: 1 / 0)  # type: ignore[operator]


def test_a_signal_that_comes_while_a_plugin_runs_is_no_fault_of_it() -> None:
    calls = zoo("calls")
    ours = ModuleType("bench.ours")
    exec("def leave():\n    raise SystemExit(143)\ndef stop():\n    raise KeyboardInterrupt", vars(ours))  # noqa: S102
    for function, kind in ((ours.leave, SystemExit), (ours.stop, KeyboardInterrupt)):
        with pytest.raises(kind), named():
            calls(function)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["json", "queue", "statistics"])
def test_a_file_with_the_name_of_a_module_of_python_is_refused_and_never_imported(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is a module of Python itself"):
        zoo("x", "raise SystemExit", name)
    # Nor does it take Python's place for a library that imports it later.
    zoo("leaves")
    known = sys.modules.pop(name, None)
    try:
        module = __import__(name)
    finally:
        sys.modules[name] = known or module
    assert str(Path.cwd()) not in str(module.__file__)


def test_a_file_with_the_name_of_a_module_in_use_is_refused() -> None:
    with pytest.raises(UserError, match=r"has the same name and is in use; rename .*numpy.py"):
        zoo("x", "x = 1", "numpy")


def test_a_folder_without_code_hides_no_package() -> None:
    Path("mlflow").mkdir()
    Path("zoo_folder").mkdir()
    Path("zoo_folder/inner.py").write_text("value = 3")
    assert load_object("zoo_folder.inner:value", "defense") == 3
    import mlflow

    assert mlflow.__file__ is not None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; sys.exit(3)", "failed to import: SystemExit: 3"),
        ("raise BaseException('x')", "failed to import: BaseException: x"),
        ("def broken(:", "failed to import: SyntaxError"),
        ("import zoo_absent", "no module named 'zoo_absent'"),
        ("def __getattr__(name): raise ValueError('no ' + name)", "failed: ValueError: no part"),
        ("other = 1", "unknown attribute of zoo_plugin 'part'"),
        ("raise RecursionError", "failed to import: RecursionError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        zoo("part", source)
    assert "zoo_plugin" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_an_error_without_a_message_is_told_by_its_class() -> None:
    assert told(ValueError()) == "ValueError"
    assert plugin_behind(ValueError()) is None


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda: (), ()),
        (lambda width=3: (width,), (3,)),
        (lambda second: (second,), (2,)),
        (lambda second, width=3: (second, width), (2, 3)),
        (lambda a, b: (a, b), (1, 2)),
        (lambda a, b, **rest: (a, b, *rest), (1, 2)),
        (lambda **rest: tuple(rest.values()), (1, 2)),
        (lambda *rest: rest, ()),
        (lambda a, b, /: (a, b), (1, 2)),
    ],
)
def test_a_function_gets_what_it_takes(function: Callable[..., object], got: tuple[int, ...]) -> None:
    assert call_offering(function, first=1, second=2) == got

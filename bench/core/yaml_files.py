"""Read YAML written by people: plain values, every key once, and bounded in size, depth and repetition."""

import re
from pathlib import Path
from typing import Any

import yaml

from bench.core.errors import UserError
from bench.core.files import read_bytes
from bench.core.values import has_control_characters, shown

#: Limits of a file. The longest study of the papers has 5 kB and 4 levels.
MOST_BYTES = 2**19
MOST_VALUES = 50_000
MOST_LEVELS = 40

_TAG = "tag:yaml.org,2002:"
#: Tabs and ends of lines, which a paragraph may hold.
_LAYOUT = str.maketrans("", "", "\t\r\n")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, without tags.

    In YAML 1.1 `yes` is true, `1:30` is 90, `010` is 8 and `2020-01-01` is a date: a setting would silently become
    another. Here these stay text, for the setting itself to read.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  the base class has the scalars of YAML 1.1

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = self._values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node, counted with all below it; a node that an alias repeats counts again."""
        event = self.peek_event()
        self._level += 1
        self._refuse(self._level > MOST_LEVELS, f"nested more than {MOST_LEVELS} deep", event)
        if isinstance(event, yaml.AliasEvent):
            repeated = self.anchors.get(event.anchor)
            inside = repeated is not None and id(repeated) not in self._sizes
            self._refuse(inside, f"*{event.anchor} repeats what it is a part of", event)
        else:
            self._refuse(
                event.tag not in (None, "!", f"{_TAG}str"), f"the tag {event.tag} is not read", event
            )
        before = self._values
        node = super().compose_node(parent, index)
        self._values += self._sizes[id(node)] if isinstance(event, yaml.AliasEvent) else 1
        self._sizes[id(node)] = self._values - before
        self._refuse(self._values > MOST_VALUES, f"more than {MOST_VALUES:,} values", event)
        self._level -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        """One value, without control characters."""
        event = self.peek_event()
        hidden = has_control_characters(event.value.translate(_LAYOUT))
        self._refuse(hidden, "a value holds control characters", event)
        return super().compose_scalar_node(anchor)

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping in which no key stands twice."""
        node = super().compose_mapping_node(anchor)
        first: dict[str, Any] = {}
        for key, _ in node.value:
            self._refuse(not isinstance(key, yaml.ScalarNode), "a key must be a word", key)
            known = first.setdefault(key.value, key)
            line = known.start_mark.line + 1
            self._refuse(
                known is not key, f"the key {shown(key.value)} stands twice, first in line {line}", key
            )
        return node

    @staticmethod
    def _refuse(wrong: bool, problem: str, where: Any) -> None:
        if wrong:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,20}", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,3})?",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), _first)
_Loader.add_constructor(f"{_TAG}int", lambda loader, node: int(node.value))
_Loader.add_constructor(f"{_TAG}float", lambda loader, node: float(node.value))


def read_yaml(path: Path) -> Any:
    """Read YAML.

    Raises:
        UserError: when the file is missing, no regular file, larger than `MOST_BYTES`, or no YAML of plain values.
    """
    try:
        return parse_yaml(read_bytes(path, MOST_BYTES).decode("utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{path} is not valid YAML{where}: {problem}") from None


def parse_yaml(text: str) -> Any:
    """Read YAML from a text.

    Raises:
        yaml.YAMLError, ValueError: when it is no YAML of plain values.
    """
    return yaml.load(text, _Loader)  # noqa: S506  a safe loader

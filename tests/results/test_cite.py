"""BibTeX of what a record rests on."""

import re
from collections.abc import Callable

import pytest

from bench.core.record import Record
from bench.results.cite import ATTACKS, DEFENSES, GEOMETRY, cite, references
from defenses import DEFENSES as REGISTERED
from defenses import WRAPPERS


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(.+),$", text, re.MULTILINE)


def test_every_key_has_an_entry_and_every_defense_its_papers() -> None:
    used = {key for many in (*ATTACKS.values(), *DEFENSES.values()) for key in many} | {*GEOMETRY.values()}
    assert used <= set(references())
    assert {name for name in REGISTERED.names() if name.isidentifier() or "-" in name} <= set(DEFENSES)
    assert set(WRAPPERS) <= set(DEFENSES)


@pytest.mark.parametrize("key", references())
def test_every_entry_is_well_formed_bibtex(key: str) -> None:
    entry = references()[key]
    assert entry.count("{") == entry.count("}")
    fields = dict(re.findall(r"^  (\w+) += \{(.*)\},?$", entry, re.MULTILINE))
    assert {"title", "author", "year"} <= set(fields)
    assert len(fields) == entry.count("\n") - 1
    assert ("booktitle" in fields) is entry.startswith("@inproceedings")
    assert "eprint" in fields or "url" in fields
    surname = fields["author"].strip("{").split()[0].split("-")[0].strip(",}").lower()
    assert key.startswith(surname + fields["year"])
    lines = entry.splitlines()
    assert all(line.endswith(",") for line in lines[:-2])
    assert not lines[-2].endswith(",")


def test_a_record_is_cited_with_battery_attacks_and_defense_each_once(
    make_record: Callable[..., Record],
) -> None:
    text = cite(make_record(defense={"name": "awp(jacobian+at)"}))
    found = keys(text)
    assert found[0] == "regionbench"
    assert len(set(found)) == len(found)
    for key in ("madry2018towards", "croce2020reliable", "wu2020adversarial", "yu2018interpreting"):
        assert key in found
    assert "zhang2019theoretically" not in found
    assert "% defense at (above)" in text


def test_what_a_record_says_cannot_end_a_comment_or_a_field(make_record: Callable[..., Record]) -> None:
    text = cite(make_record(defense={"name": "mine} @misc{x,"}, battery={"name": "a}{b"}))
    assert "x" not in keys(text)
    assert "not one of ours" in text
    assert text.count("{") == text.count("}")

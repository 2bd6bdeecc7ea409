from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bench.core.names import WORST_CASE
from bench.core.statistics import mcnemar, paired_p_value
from leaderboards.board import Board, make_boards
from leaderboards.result import read_results
from leaderboards.table import make_table
from tests.records import RATES, make_arrays, make_record, make_scores, write_record

masks = st.integers(1, 12).flatmap(lambda n: st.tuples(npst.arrays(bool, (1, n)), npst.arrays(bool, (1, n))))
stacks = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 7)).flatmap(
    lambda size: st.tuples(npst.arrays(bool, (size[0], size[2])), npst.arrays(bool, (size[1], size[2])))
)


def by_enumeration(first: np.ndarray, second: np.ndarray) -> float:
    """The same p-value from all 2ⁿ signs, in whole numbers."""
    difference = first.sum(axis=0) * len(second) - second.sum(axis=0) * len(first)
    sums = [abs(np.dot(signs, difference)) for signs in product((-1, 1), repeat=len(difference))]
    return float(np.mean([value >= abs(difference.sum()) for value in sums]))


@given(masks)
def test_with_one_seed_each_the_test_is_exact_mcnemar(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    assert paired_p_value(first, second) == mcnemar(first[0], second[0])
    assert paired_p_value(first, second) == pytest.approx(by_enumeration(first, second))


@given(stacks)
def test_with_several_seeds_the_test_enumerates_every_sign(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert paired_p_value(*pair) == pytest.approx(by_enumeration(*pair))
    assert paired_p_value(*pair) == pytest.approx(paired_p_value(*pair[::-1]))


@given(masks)
def test_repeating_a_seed_adds_no_evidence(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    repeated = paired_p_value(np.repeat(first, 3, axis=0), np.repeat(second, 3, axis=0))
    assert repeated == pytest.approx(paired_p_value(first, second))


def test_the_distribution_stays_exact_for_many_images() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((1, 10_000)) < 0.5, rng.random((1, 10_000)) < 0.51
    repeated = paired_p_value(np.repeat(first, 3, axis=0), np.repeat(second, 2, axis=0))
    assert repeated == pytest.approx(mcnemar(first[0], second[0]), abs=1e-9)


def test_images_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="same images"):
        paired_p_value(np.ones((1, 3), bool), np.ones((1, 4), bool))


def outcomes(right: int, n: int = 200, shift: int = 0) -> dict[str, np.ndarray]:
    """Arrays in which the worst case is right on `right` images, from image `shift` on."""
    mask = np.roll(np.arange(n) < right, shift)
    return {"clean_accuracy": np.ones(n, bool), WORST_CASE: mask, "test_index": np.arange(n)}


def board(folder: Path, *entries: tuple[str, dict[str, np.ndarray], bool]) -> Board:
    """A board of (name, arrays, whether the arrays are kept)."""
    paths = []
    for name, arrays, kept in entries:
        record = make_record(arrays, id=name, defense={"name": name})
        paths.append(write_record(folder / name, record, arrays if kept else None))
    (made,) = make_boards(read_results(paths)[0])
    return made


def places(made: Board) -> dict[str, tuple[int | None, bool]]:
    return {
        entry.defense.name: (rank.place, rank.shared)
        for entry, rank in zip(made.entries, made.ranks, strict=True)
    }


def test_a_place_is_shared_with_the_leader_until_the_test_separates(tmp_path: Path) -> None:
    made = board(
        tmp_path,
        ("first", outcomes(100), True),
        # Five discordant images, all one way: p = 2 / 2⁵ = 0.0625. Six: p = 2 / 2⁶ = 0.03125.
        ("second", outcomes(95), True),
        ("third", outcomes(94), True),
        ("fourth", outcomes(20), True),
    )
    assert places(made) == {
        "first": (1, True),
        "second": (1, True),
        "third": (3, False),
        "fourth": (4, False),
    }
    assert made.ranks[1].p_value == pytest.approx(0.0625)
    assert made.ranks[1].method == "paired"


def test_pairing_separates_what_intervals_cannot(tmp_path: Path) -> None:
    paired = board(tmp_path / "a", ("first", outcomes(100), True), ("second", outcomes(90), True))
    unpaired = board(tmp_path / "b", ("first", outcomes(100), True), ("second", outcomes(90), False))
    assert places(paired) == {"first": (1, False), "second": (2, False)}
    assert places(unpaired) == {"first": (1, True), "second": (1, True)}
    assert unpaired.ranks[1].method == "intervals"
    assert unpaired.compares_intervals
    assert not paired.compares_intervals


def test_intervals_that_do_not_overlap_separate(tmp_path: Path) -> None:
    made = board(tmp_path, ("first", outcomes(180), False), ("second", outcomes(20), False))
    assert places(made) == {"first": (1, False), "second": (2, False)}


def test_equal_accuracy_on_other_images_is_a_tie(tmp_path: Path) -> None:
    made = board(tmp_path, ("one", outcomes(100), True), ("two", outcomes(100, shift=50), True))
    assert set(places(made).values()) == {(1, True)}


def test_an_entry_without_a_worst_case_comes_last_without_a_place(tmp_path: Path) -> None:
    arrays = make_arrays()
    metrics: dict[str, Any] = make_scores(arrays)
    metrics[WORST_CASE] = {"value": None, "unit": "fraction", "reason": "AutoAttack needs four classes"}
    paths = [
        write_record(tmp_path / "a", make_record(id="a", defense={"name": "broken"}, metrics=metrics)),
        write_record(tmp_path / "b", make_record(arrays, id="b", defense={"name": "measured"}), arrays),
    ]
    (made,) = make_boards(read_results(paths)[0])
    assert places(made) == {"measured": (1, False), "broken": (None, False)}
    assert list(places(made)) == ["measured", "broken"]


def test_a_mean_over_seeds_is_ranked_by_its_images(tmp_path: Path) -> None:
    paths = []
    for name, right in (("strong", 110), ("weak", 90)):
        for seed in range(3):
            arrays = outcomes(right + seed)
            record = make_record(arrays, id=f"{name}{seed}", seed=seed, defense={"name": name})
            paths.append(write_record(tmp_path / f"{name}{seed}", record, arrays))
    (made,) = make_boards(read_results(paths)[0])
    assert places(made) == {"strong": (1, False), "weak": (2, False)}
    # The 22 images whose mean differs all favour the first; only the two largest sums of signs reach it.
    assert made.entries[0].outcomes is not None
    assert made.entries[1].outcomes is not None
    assert paired_p_value(made.entries[0].outcomes, made.entries[1].outcomes) == pytest.approx(2 / 2**22)


def test_an_entry_in_doubt_has_no_place_and_stands_below_all_that_have_one(tmp_path: Path) -> None:
    raised = {"name": "zero gradients", "raised": True, "message": "95 % are zero"}
    paths = []
    for seed, (name, rate, alarms) in enumerate([("a", 0.9, [raised]), ("b", 0.3, []), ("c", 0.0, [])]):
        arrays = make_arrays(dict.fromkeys(RATES, rate) | {"clean_accuracy": 0.95}, seed=seed)
        record = make_record(arrays, defense={"name": name}, alarms=alarms, id=name)
        paths.append(write_record(tmp_path / name, record, arrays))
    (board,) = make_boards(read_results(paths)[0])
    assert [entry.defense.name for entry in board.entries] == ["b", "c", "a"]
    assert [(rank.place, rank.in_doubt) for rank in board.ranks] == [(1, False), (2, False), (None, True)]
    row = make_table(board).rows[-1]
    assert row.place == "—"
    assert row.alarms == ("zero gradients", "in doubt")
    assert any(cell.value == "(90.0)" for cell in row.cells)
    assert not any(cell.best for cell in row.cells[1:4])


def test_a_later_evaluation_does_not_forget_what_an_earlier_one_broke(tmp_path: Path) -> None:
    paths = []
    weights = {"weights": {"path": "weights.safetensors", "sha256": "ab" * 32}}
    for name, rate, day in (("early", 0.2, 1), ("late", 0.4, 2)):
        arrays = make_arrays(dict.fromkeys(RATES, rate))
        provenance = {"created": f"2026-01-0{day}T00:00:00+00:00"}
        record = make_record(arrays, files=weights, provenance=provenance)
        paths.append(write_record(tmp_path / name, record, arrays))
    (board,) = make_boards(read_results(paths)[0])
    score = board.entries[0].worst_case
    assert score is not None
    assert score.mean == pytest.approx(0.2)
    assert "earlier evaluation" in score.reason

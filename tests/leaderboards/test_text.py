import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.charts.numbers import typeset
from bench.core.names import dataset_label, slug
from leaderboards.text import breakable, duration, interval, number, quantity, titled, with_titles


@given(st.text())
def test_a_slug_is_safe_in_a_path_whatever_the_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(text))
    assert len(slug(text)) <= 48


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("cifar10", "cifar10"),
        ("imagefolder:/home/someone/flowers", "imagefolder:flowers"),
        ("imagefolder:/home/someone/flowers/", "imagefolder:flowers"),
        ("imagefolder:C:\\pictures\\flowers", "imagefolder:flowers"),
        ("/data/flowers", "flowers"),
    ],
)
def test_a_data_set_is_named_without_its_folders(name: str, label: str) -> None:
    assert dataset_label(name) == label


@pytest.mark.parametrize(
    ("value", "metric", "unit", "shown"),
    [
        (0.4567, "robust_accuracy/pgd20", "fraction", "45.7"),
        (1.0, "clean_accuracy", "fraction", "100.0"),
        (0.017, "prs_ratio", "fraction", "0.017"),
        (0.00002, "prs_ratio", "fraction", "2.0×10⁻⁵"),
        (0.0, "prs_ratio", "fraction", "0.000"),
        (0.74, "detection_auc", "AUC", "0.740"),
        (58.96, "time_per_epoch", "seconds", "59.0"),
        (8.92, "time_per_epoch", "seconds", "8.92"),
        (4.333, "time_per_epoch_ratio", "ratio", "4.33×"),
        (9.996, "time_per_epoch_ratio", "ratio", "10.0×"),
        (10.268, "time_per_epoch_ratio", "ratio", "10.3×"),
        (112.4, "time_per_epoch_ratio", "ratio", "112×"),
        (12345.0, "anything", "count", "12,345"),
        (-0.5, "anything", "nats", "−0.500"),
        (-0.0, "anything", "nats", "0.000"),
        (0.2275, "suspicious/pgd500", "fraction", "22.8"),
    ],
)
def test_a_value_has_the_digits_of_its_unit(value: float, metric: str, unit: str, shown: str) -> None:
    assert quantity(value, metric, unit) == shown


def test_an_interval_below_zero_is_written_with_a_word() -> None:
    assert interval(0.512, 0.574, "clean_accuracy", "fraction") == "51.2–57.4"
    assert interval(-0.1, 0.2, "other", "nats") == "−0.100 to 0.200"
    assert interval(None, 0.2, "other", "nats") == ""


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.142, 0.00896, 0.274, ("0.14", "0.01–0.27")),
        (-0.3533, -0.4631, -0.2381, ("−0.35", "−0.46 to −0.24")),
        (21.68, 20.46, 23.0, ("21.7", "20.5–23.0")),
        (380.4, 0.0, 2382.2, ("380", "0–2,382")),
        (0.5, 0.5, 0.5, ("0.5", "0.5–0.5")),
        (2e-7, 1e-7, 3e-7, ("2.0×10⁻⁷", "1.0×10⁻⁷–3.0×10⁻⁷")),
    ],
)
def test_a_value_has_the_digits_that_its_interval_warrants(
    value: float, low: float, high: float, shown: tuple[str, str]
) -> None:
    assert (quantity(value, "x", "", (low, high)), interval(low, high, "x", "")) == shown


def test_numbers_with_an_exponent_are_shown_as_they_are_read() -> None:
    said = "leave 9.00%, p = 7.6e-06; up to 1e-05 is rounding (median 8.7e-03)."
    assert typeset(said) == "leave 9.00%, p = 7.6×10⁻⁶; up to 1.0×10⁻⁵ is rounding (median 0.0087)."
    for other in ("standard-e-167892432fd5.json", "0a1e-5", "v1.2e3", "1e", "see 3e10x"):
        assert typeset(other) == other


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0 s"), (0.00075, "< 0.01 s"), (0.0804, "0.08 s"), (25.73, "25.7 s"), (300, "5 min")],
)
def test_a_duration_is_no_finer_than_it_is_known(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_score_without_a_title_is_named_after_what_it_is_a_part_of() -> None:
    titles = {"detection_auc": "Detection AUC, literal"}
    assert titled("detection_auc/alpha_5", titles) == "Detection AUC, literal, alpha 5"
    assert titled("prs_by_layer/backbone.4", titles) == "PRS by layer, backbone.4"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_stays_short_however_large_it_is(value: float) -> None:
    assert len(number(value)) <= 20
    assert len(number(value, 3)) <= 20


@given(st.text())
def test_breaking_a_name_loses_nothing_of_it(text: str) -> None:
    assert "".join(breakable(text)) == text


def test_a_name_breaks_after_punctuation_and_between_words() -> None:
    assert breakable("my_package:GreatDefense") == ["my_", "package:", "Great", "Defense"]
    assert breakable("bench.models:cnn6(width=0.25)") == ["bench.", "models:", "cnn6", "(width=", "0.25)"]


def test_a_claim_calls_columns_by_their_headings_and_rows_by_their_names() -> None:
    titles = {"pgd20@8/255": "PGD-20 8/255 %", "clean_accuracy": "Clean accuracy %"}
    assert with_titles("at > mr, 2 at pgd20@8/255", titles) == "at > mr, 2 at PGD-20 8/255 %"
    assert with_titles("clean_accuracy > 90 for at", titles) == "Clean accuracy % > 90 for at"


def test_a_tiny_value_has_the_digits_of_its_wide_interval() -> None:
    assert interval(1.8e-7, 1.0, "region_distance", "AUC") == "0.000–1.000"
    assert quantity(8.9e-4, "prs_ratio", "fraction", (0.0021, 0.0039)) == "0.001"
    assert interval(1e-5, 4e-5, "prs_ratio", "fraction") == "1.0×10⁻⁵–4.0×10⁻⁵"

"""Names of networks, and matching their figures."""

from typing import Any

import pytest

from bench.charts import Chart, Heatmap, Line, Panel, Points
from bench.evaluation.record_charts import caption_subject
from bench.results.figure_matching import ResultFigures, match_figures, network_names
from tests.records import make_record


def named(*changes: dict[str, Any], files: str = "") -> list[str]:
    results = [
        ResultFigures(make_record(**change), [], file)
        for change, file in zip(changes, files or [""] * 99, strict=False)
    ]
    return network_names(results)


def defense(name: str, **hyperparameters: Any) -> dict[str, Any]:
    return {"name": name, "hyperparameters": hyperparameters}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([{"defense": defense("standard")}, {"defense": defense("jacobian")}], ["standard", "jacobian"]),
        (
            [
                {"defense": defense("at"), "seed": 0},
                {"defense": defense("at"), "seed": 1},
                {"defense": defense("prs"), "seed": 1},
            ],
            ["at, seed 0", "at, seed 1", "prs"],
        ),
        (
            [
                {"defense": defense("at"), "model": "lenet"},
                {"defense": defense("at"), "model": "nin", "seed": 3},
            ],
            ["at, lenet", "at, nin"],
        ),
        (
            [{"defense": defense("jacobian", c=c, norm="l2")} for c in (1.0, 500.0)],
            ["jacobian, c = 1", "jacobian, c = 500"],
        ),
        (
            [{"defense": defense("external"), "model": "lenet", "id": name} for name in ("one", "two")],
            ["lenet, one", "lenet, two"],
        ),
        ([{"defense": defense("at")}] * 3, ["at", "at (2)", "at (3)"]),
    ],
)
def test_a_network_is_called_by_its_defense_and_by_no_more_than_tells_it_apart(
    changes: list[dict[str, Any]], names: list[str]
) -> None:
    assert named(*changes) == names


def test_checkpoints_are_called_by_their_files() -> None:
    assert named({"defense": defense("external")}, {"defense": defense("external")}, files="ab") == ["a", "b"]


def chart(name: str, title: str, *, image: bool = False, caption: str = "") -> Chart:
    line, heatmap = Line(x=[0, 1], y=[1, 2]), Heatmap(x=[0, 1], y=[0, 1], z=[[0, 1], [1, 2]])
    return Chart(name=name, title=title, caption=caption, panels=[Panel(marks=[heatmap if image else line])])


def figures(name: str, *charts: Chart, **changes: Any) -> ResultFigures:
    return ResultFigures(make_record(defense=defense(name), **changes), charts)


def test_figures_that_two_networks_have_are_combined_and_the_others_are_noted() -> None:
    together = match_figures(
        {
            "a": figures(
                "a", chart("security", "Security"), chart("training", "Training"), chart("odd", "Odd")
            ),
            "b": figures("b", chart("security", "Security"), chart("training", "Training")),
            "c": figures("c", chart("security", "Security")),
        }
    )
    assert [each.name for each in together.charts] == ["security", "training"]
    assert [panel.title for panel in together.charts[0].panels] == ["a", "b", "c"]
    assert together.notes == ["Training: not for c.", "Only for a: Odd."]


def test_a_numbered_figure_is_found_by_its_image_and_never_set_beside_another() -> None:
    def around(number: int, image: int) -> Chart:
        return chart(f"surface-{number}", f"Surface around test image {image}", image=True)

    together = match_figures(
        {"a": figures("a", around(1, 0), around(2, 3)), "b": figures("b", around(1, 3), around(2, 4))}
    )
    (made,) = together.charts
    assert made.title == "Surface around test image 3"
    assert together.notes == [
        "Only for a: Surface around test image 0.",
        "Only for b: Surface around test image 4.",
    ]


def plane(number: int, finding: int, *images: int, training: bool = False) -> Chart:
    heatmap = Heatmap(x=[0, 1], y=[0, 1], z=[[0, finding], [1, 2]], scale="categorical")
    points = Points(x=[0] * len(images), y=[1] * len(images), labels=[f"image {image}" for image in images])
    return Chart(
        name=f"plane{'-training' * training}-{number}",
        title=f"Plane through three {'training' if training else 'test'} images: {finding}",
        panels=[Panel(title="regions", marks=[heatmap, points])],
    )


def test_every_plane_of_the_same_images_stands_beside_its_twin_and_the_others_are_told() -> None:
    together = match_figures(
        {
            "a": figures("a", plane(1, 5, 1, 2, 3), plane(2, 6, 4, 5, 6), plane(3, 7, 7, 8, 9)),
            "b": figures("b", plane(1, 8, 4, 5, 6), plane(2, 9, 1, 2, 3), plane(3, 4, 7, 8, 10)),
        }
    )
    assert [each.name for each in together.charts] == ["plane-1", "plane-2"]
    shown = [
        [(panel.title, panel.marks[1].labels[0], panel.marks[0].z[0][1]) for panel in each.panels]
        for each in together.charts
    ]
    assert shown == [
        [("a: regions", "image 1", 5), ("b: regions", "image 1", 9)],
        [("a: regions", "image 4", 6), ("b: regions", "image 4", 8)],
    ]
    assert together.notes == [
        "Only for a: Plane through three test images: 7 (image 7, image 8, image 9).",
        "Only for b: Plane through three test images: 4 (image 7, image 8, image 10).",
    ]


def test_planes_of_training_images_and_figures_of_one_title_are_not_lost_either() -> None:
    own = [plane(number, number, number, 2, 3, training=True) for number in (1, 2, 3)]
    lines = [chart("odd-1", "Odd"), chart("odd-2", "Odd")]
    together = match_figures({"a": figures("a", *own, *lines), "b": figures("b", *own, *lines[:1])})
    assert [each.name for each in together.charts] == [
        "plane-training-1",
        "plane-training-2",
        "plane-training-3",
        "odd-1",
    ]
    assert together.notes == ["Only for a: Odd."]


def test_maps_of_other_data_sets_are_told_and_lines_are_shared() -> None:
    own = chart("surface-1", "Surface", image=True), chart("security", "Security")
    together = match_figures(
        {"a": figures("a", *own), "b": figures("b", *own, dataset={"name": "mnist"}), "c": figures("c", *own)}
    )
    surface, security = together.charts
    assert [panel.title for panel in surface.panels] == ["a", "c"]
    assert [panel.title for panel in security.panels] == ["a", "b", "c"]
    assert together.notes == ["Surface: of other test images for b."]


def test_the_same_test_images_are_known_whatever_their_number() -> None:
    own = chart("surface-1", "Surface", image=True)
    other = {"evaluated_fingerprint": "0" * 64, "evaluated_size": 7}
    assert match_figures({"a": figures("a", own), "b": figures("b", own, dataset=other)}).charts
    folder = {"name": "imagefolder:photos"}
    results = {"a": figures("a", own, dataset=folder), "b": figures("b", own, dataset=folder | other)}
    assert not match_figures(results).charts


def test_what_a_caption_says_of_its_network_is_left_to_the_panels() -> None:
    results = {}
    for name in ("a", "b"):
        record = make_record(defense=defense(name))
        results[name] = ResultFigures(
            record, [chart("x", "X", caption=f"{caption_subject(record)}. How to read it.")]
        )
    (made,) = match_figures(results).charts
    assert made.caption == "How to read it. Matching panels have the same axes."

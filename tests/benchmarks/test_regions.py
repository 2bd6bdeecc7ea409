"""Groups of images by their region, and networks that differ in one setting, from shipped results."""

import pytest

from benchmarks.regions import SHIPPED, Groups, alike, groups, networks, pairs


def test_images_of_populated_regions_are_told_from_the_others() -> None:
    found = [group for group in groups(SHIPPED / "digits-linf") if group.network.endswith("seed 2")]
    assert found == [Groups("digits cnn6(width=0.25), seed 2", 0.1, (68, 160), (5, 35))]
    assert round(found[0].difference.value, 2) == 0.28


def test_pairs_differ_in_one_setting_alone() -> None:
    names = ["a batch_size=16, seed 0", "a batch_size=64, seed 0", "a batch_size=16, seed 1"]
    assert pairs(names, "batch_size=64,", "batch_size=16,") == [(names[1], names[0])]


def test_the_full_study_has_its_networks_without_a_defense() -> None:
    found = networks(SHIPPED / "studies" / "predictors")
    assert len(found) == 72
    assert all(" standard " in name for name in found)


def test_networks_are_grouped_by_what_they_were_trained_on() -> None:
    found = {
        (each.dataset, each.batch_size): each for each in alike(SHIPPED / "studies" / "p1-correlation-60")
    }
    assert len(found["digits", "all"].robust) == 40
    assert len(found["mnist", "2048"].robust) == 5
    assert found["mnist", "64"].order == pytest.approx(-1)

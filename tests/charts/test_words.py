from bench.attacks import ATTACKS
from bench.charts.words import attack_title, class_titles, norm_sign


def test_known_attacks_and_norms_have_the_papers_names_and_others_keep_their_own():
    assert [attack_title(name) for name in ("pgd20", "cw", "mine")] == ["PGD-20", "C&W", "mine"]
    assert [norm_sign(norm) for norm in ("linf", "l2", "l1")] == ["ℓ∞", "ℓ2", "l1"]


def test_no_two_attacks_share_a_title():
    assert len({attack_title(name) for name in ATTACKS}) == len(ATTACKS)


def test_labels_without_a_name_are_numbered():
    assert class_titles([1, 0, 2], ["cat", "dog"]) == ["dog", "cat", "class 2"]

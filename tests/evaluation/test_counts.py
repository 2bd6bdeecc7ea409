"""What is found out counts: an undefended network with one-hot outputs beside an honest one, up to the board."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bench
from bench.core.names import PGD20, WORST_CASE
from bench.core.record import RECORD, find_records, load_record, read_arrays
from bench.core.standing import standing
from bench.core.threat import Threat
from bench.data import load
from bench.evaluation.battery import Battery
from bench.evaluation.black_box_checks import MoreSquare
from bench.evaluation.files import unflatten
from bench.results.compare import compare_paths
from bench.results.verification.alarms import check_alarms
from bench.results.verification.attack_outcomes import check_worst_case
from bench.results.verification.check import Check
from leaderboards.board import make_boards
from leaderboards.ranked import read_ranked
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.security_curve import SecurityCurve
from metrics.accuracy.worst_case import WorstCase
from tests.disguises import THREAT, Disguised, train_honest


class OneHot(Disguised):
    """Outputs without a gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return 10 * F.one_hot(self.network(images).argmax(1), 10).float()


@pytest.mark.long
@pytest.mark.slow
def test_a_one_hot_output_outranks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MoreSquare, "queries", 200)
    digits = load("digits", train_size=600, test_size=40)
    attacks = (RobustAccuracy("fgsm"), RobustAccuracy("pgd20"), RobustAccuracy("cw"))
    battery = Battery("small", 40, (CleanAccuracy(), *attacks, SecurityCurve(), WorstCase()), "")
    networks: dict[str, nn.Module] = {
        "honest": train_honest(digits),
        "one-hot": OneHot(train_honest(digits, Threat("linf", "0"))),
    }
    torch.manual_seed(0)
    for answered in (False, True):
        for name, network in networks.items():
            folder = tmp_path / str(answered) / name
            record = bench.evaluate(
                network, digits, THREAT, battery, defense=name, out=folder, escalate=answered
            )
            curve = {point.x: point.value for point in record.curves["security"].points}
            assert curve[THREAT.radius] == record.metrics[PGD20].value
        results, left_out = read_ranked(find_records(tmp_path / str(answered)))
        assert not left_out
        (board,) = make_boards(results)
        assert [entry.defense.name for entry in board.entries] == ["honest", "one-hot"]
        assert board.ranks[0].place == 1
        (found,), _ = compare_paths(*(tmp_path / str(answered) / name for name in ("one-hot", "honest")))
        worst = next(row for row in found.rows if row.metric == WORST_CASE)
        assert worst.better == ("B" if answered else None)
        assert "zero gradients" in found.notes[0]
        stands = standing(results[[r.record.defense.name for r in results].index("one-hot")].record)
        # The extra checks break most of the rest and leave more than 5 % right without a bound.
        assert stands.in_doubt
        assert board.ranks[1].place is None
        assert ("straight_through broke" in stands.answer) == answered
    path = tmp_path / "True" / "one-hot" / RECORD
    record = load_record(path)
    arrays = read_arrays(path, record)
    checks = [*check_worst_case(record, arrays, {}), *check_alarms(record, unflatten(arrays))]
    assert {check.outcome for check in checks if isinstance(check, Check)} == {"match"}

"""Attacks: functions of (classifier, images, labels, threat, generator), and the attacks of the battery by name."""

from typing import TYPE_CHECKING

from bench.core.lazy import imported_from

if TYPE_CHECKING:
    from bench.attacks.pgd import ATTACKS, Attack, AttackResult
    from bench.attacks.steps import maximise
else:
    __getattr__ = imported_from(
        __name__,
        {
            "bench.attacks.pgd": ("ATTACKS", "Attack", "AttackResult"),
            "bench.attacks.steps": ("maximise",),
        },
    )

__all__ = ["ATTACKS", "Attack", "AttackResult", "maximise"]

"""Attacks: functions of (classifier, images, labels, threat, generator), and the attacks of the battery by name."""

from bench.attacks.pgd import ATTACKS, Attack, AttackResult
from bench.attacks.steps import maximise

__all__ = ["ATTACKS", "Attack", "AttackResult", "maximise"]

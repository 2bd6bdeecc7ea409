"""Attacks: functions of (classifier, images, labels, threat, generator), and those of the battery by name."""

from bench.attacks.pgd import ATTACKS, Attack, AttackResult, maximise

__all__ = ["ATTACKS", "Attack", "AttackResult", "maximise"]

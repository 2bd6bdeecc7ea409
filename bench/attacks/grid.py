"""Several attacks at several ε on the same images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import Tensor

from bench.attacks.autoattack import autoattack
from bench.attacks.pgd import ATTACKS, Attack
from bench.core.checks import SAME_LOGITS, moved_between
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError, unknown_name
from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.data import Split

#: Images attacked at once. The number is fixed, so that no random start depends on the batch size.
AT_ONCE = 1000


@dataclass(frozen=True)
class Survival:
    """The outcome of one attack on some of the images.

    Attributes:
        broken: bool [n].
        notes: stages left out, warnings, and a version that replaced the requested one.
    """

    broken: Tensor
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WholeAutoAttack:
    """AutoAttack as in the metric `robust_accuracy/autoattack`: fast passes, seed 0, batches of 250 images.

    A stochastic network, whose output changes between two passes, is attacked with the version "rand".
    """

    name: str = "autoattack"
    version: str = "standard"
    seed: int = 0
    batch_size: int = 250

    def __call__(
        self, classifier: AnyClassifier, images: Tensor, labels: Tensor, threat: Threat, progress: Progress
    ) -> Survival:
        """Attack images [n, C, H, W] with labels [n]."""
        some = images[: self.batch_size]
        with torch.no_grad():
            first, second = classifier(some), classifier(some)
        moved = moved_between(first, second)
        version = "rand" if moved > SAME_LOGITS else self.version
        result = autoattack(
            classifier,
            images,
            labels,
            threat,
            seed=self.seed,
            version=version,
            batch_size=self.batch_size,
            passes="fast",
            progress=progress,
        )
        notes = [f"left out: {stage}: {reason}" for stage, reason in result.skipped.items()]
        notes += [f"warned: {stage}: {warning}" for stage, warning in result.warnings.items()]
        if version != self.version:
            changes = f"output changes between passes by {moved:.1e}"
            notes.insert(0, f"warned: {changes}: version {version} instead of {self.version}")
        return Survival(result.broken, tuple(notes))


AUTOATTACK = WholeAutoAttack()

#: An attack that a grid can run: one of `ATTACKS`, or AutoAttack.
AnyAttack = Attack | WholeAutoAttack


@dataclass(frozen=True)
class Grid:
    """Which images stay correctly classified under every attack at every ε.

    Attributes:
        right: bool [A, E, n] on the CPU.
        logits: float32 [n, K] of the clean images, on the CPU.
        notes: attack → remarks on it, without duplicates.
    """

    right: Tensor
    logits: Tensor
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def find_attacks(names: Sequence[str]) -> tuple[Attack, ...]:
    """The attacks of these names.

    Raises:
        UserError: for an unknown name, or none at all.
    """
    if not names:
        raise UserError(f"expected at least one attack, got none; known: {', '.join(ATTACKS)}")
    for name in names:
        if name not in ATTACKS:
            raise unknown_name("attack", name, ATTACKS)
    return tuple(ATTACKS[name] for name in names)


def find_grid_attacks(names: Sequence[str]) -> tuple[AnyAttack, ...]:
    """The attacks of these names, "autoattack" among them.

    Raises:
        UserError: for an unknown name, or none at all.
    """
    known = (*ATTACKS, AUTOATTACK.name)
    if not names:
        raise UserError(f"expected at least one attack, got none; known: {', '.join(known)}")
    for name in names:
        if name not in known:
            raise unknown_name("attack", name, known)
    return tuple(AUTOATTACK if name == AUTOATTACK.name else ATTACKS[name] for name in names)


def scaled_threats(threat: Threat, factors: Sequence[str]) -> tuple[Threat, ...]:
    """The threat at ε = 0, at its own ε and at multiples of it, ascending, without duplicates (ℓ∞: none above 1).

    Args:
        threat: norm and ε.
        factors: multiples as text, such as "1/2".

    Raises:
        UserError: when a factor is not a number, or is negative.
    """
    try:
        multiples = {Fraction(factor) for factor in factors}
    except (ValueError, ZeroDivisionError):
        raise UserError(f"expected multiples of ε such as 1/2 or 1.5, got {', '.join(factors)}") from None
    if any(multiple < 0 for multiple in multiples):
        raise UserError(f"expected multiples of ε from 0 on, got {', '.join(factors)}")
    radii = {Fraction(0), threat.exact, *(threat.scaled(multiple).exact for multiple in multiples)}
    return tuple(
        threat if radius == threat.exact else Threat(threat.norm, str(radius)) for radius in sorted(radii)
    )


def attack_grid(
    classifier: AnyClassifier,
    split: Split,
    index: Tensor,
    attacks: Sequence[AnyAttack],
    threats: Sequence[Threat],
    generator: Callable[[str], torch.Generator],
    *,
    batch_size: int = 500,
    progress: Progress | None = None,
    name: str = "attacks",
) -> Grid:
    """Attack images with every attack at every ε independently; at ε = 0 they are only classified.

    Args:
        classifier: left as it was found.
        split, index: the images, by their positions int64 [n]; n may be 0.
        attacks, threats: A attacks and E threats.
        generator: name → source of random starts.
        batch_size: images per pass.
        progress, name: where the bar goes, and what it is called.
    """
    right = torch.zeros(len(attacks), len(threats), len(index), dtype=torch.bool)
    logits = torch.zeros(len(index), classifier.num_classes)
    notes: dict[str, list[str]] = {}
    sources = {
        (attack.name, threat): generator(f"{name} {attack.name} {threat}")
        for attack in attacks
        for threat in threats
    }
    progress = progress or Progress()
    looks = len(index) * len(attacks) * sum(threat.exact > 0 for threat in threats)
    with progress.task(name, looks) as task:
        for start in range(0, len(index), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            images, labels = split.batch(index[part].to(split.labels.device))
            with torch.no_grad():
                seen = torch.cat([classifier(some) for some in images.split(batch_size)])
            logits[part] = seen.float().cpu()
            for row, attack in enumerate(attacks):
                for column, threat in enumerate(threats):
                    if threat.exact == 0:
                        right[row, column, part] = (seen.argmax(dim=1) == labels).cpu()
                        continue
                    if isinstance(attack, WholeAutoAttack):
                        result = attack(classifier, images, labels, threat, progress)
                    else:
                        found = attack(
                            classifier,
                            images,
                            labels,
                            threat,
                            sources[attack.name, threat],
                            batch_size=batch_size,
                        )
                        result = Survival(found.broken)
                    notes.setdefault(attack.name, []).extend(result.notes)
                    right[row, column, part] = (~result.broken).cpu()
                    task.advance(len(images), f"{attack.name} at {threat}")
    once = {name: tuple(dict.fromkeys(said)) for name, said in notes.items() if said}
    return Grid(right, logits, once)

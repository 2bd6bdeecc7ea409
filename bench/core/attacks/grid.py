"""Several attacks at several ε on the same images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from bench.core.attacks.pgd import ATTACKS, Attack
from bench.core.classifier import AnyClassifier
from bench.core.data import Split
from bench.core.errors import UserError, unknown_name
from bench.core.progress import Progress
from bench.core.threat import Threat

#: Images that are attacked at once; fixed, so that no random start depends on the batch size.
AT_ONCE = 1000


@dataclass(frozen=True)
class Grid:
    """What every attack at every ε left right.

    Attributes:
        right: bool [A, E, n] on the CPU.
        logits: float32 [n, K] of the clean images, on the CPU.
        forwards, backwards: passes through the network, in images.
    """

    right: Tensor
    logits: Tensor
    forwards: int
    backwards: int


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


def scaled_threats(threat: Threat, factors: Sequence[str]) -> tuple[Threat, ...]:
    """The threat at 0, at its own ε and at multiples of it, by rising ε, each once (ℓ∞: none above 1).

    Args:
        threat: norm and ε.
        factors: multiples as text, such as "1/2".

    Raises:
        UserError: when a factor is no number, or negative.
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
    attacks: Sequence[Attack],
    threats: Sequence[Threat],
    generator: Callable[[str], torch.Generator],
    *,
    batch_size: int = 500,
    progress: Progress | None = None,
    name: str = "attacks",
) -> Grid:
    """Attack images with every attack at every ε, each on its own; at ε = 0 they are only looked at.

    Args:
        classifier: left as it was found.
        split, index: the images, by their positions int64 [n]; n may be 0.
        attacks, threats: A and E of them.
        generator: makes the source of random starts from a name.
        batch_size: images per pass.
        progress, name: where the bar goes, and what it is called.
    """
    right = torch.zeros(len(attacks), len(threats), len(index), dtype=torch.bool)
    logits = torch.zeros(len(index), classifier.num_classes)
    forwards = backwards = 0
    sources = {
        (attack.name, threat): generator(f"{name} {attack.name} {threat}")
        for attack in attacks
        for threat in threats
    }
    looks = len(index) * len(attacks) * sum(threat.exact > 0 for threat in threats)
    with (progress or Progress()).task(name, looks) as task:
        for start in range(0, len(index), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            images, labels = split.batch(index[part].to(split.labels.device))
            with torch.no_grad():
                seen = torch.cat([classifier(some) for some in images.split(batch_size)])
            forwards += len(images)
            logits[part] = seen.float().cpu()
            for row, attack in enumerate(attacks):
                for column, threat in enumerate(threats):
                    if threat.exact == 0:
                        right[row, column, part] = (seen.argmax(dim=1) == labels).cpu()
                        continue
                    result = attack(
                        classifier,
                        images,
                        labels,
                        threat,
                        sources[attack.name, threat],
                        batch_size=batch_size,
                    )
                    forwards, backwards = forwards + result.forwards, backwards + result.backwards
                    right[row, column, part] = (~result.broken).cpu()
                    task.advance(len(images), f"{attack.name} at {threat}")
    return Grid(right, logits, forwards, backwards)

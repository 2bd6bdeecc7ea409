"""The defenses: one file each, one visible line each."""

from bench.core.errors import UserError
from bench.core.plugins import Registry
from defenses.at import AdversarialTraining
from defenses.base import Defense, Objective, Training
from defenses.jacobian import Jacobian
from defenses.mr import MR
from defenses.prs import PRS
from defenses.standard import Standard

__all__ = ["DEFENSES", "Defense", "Objective", "Training", "get"]

DEFENSES = Registry(
    "defense",
    "bench.defenses",
    {
        "standard": lambda: Standard,
        "at": lambda: AdversarialTraining,
        "prs": lambda: PRS,
        "mr": lambda: MR,
        "jacobian": lambda: Jacobian,
    },
)


def get(name: str) -> type[Defense]:
    """The defense class called `name`, or the one `module:Class` points to.

    Raises:
        UserError: when there is none, or what was found is no `Defense`.
    """
    found = DEFENSES.get(name)
    if not (isinstance(found, type) and issubclass(found, Defense)):
        raise UserError(
            f"{name!r} is no defense: expected a subclass of defenses.base.Defense, got {found!r}"
        )
    return found

"""The defenses: one file and one line of the registry each."""

from bench.core.errors import UserError
from bench.core.registry import Registry
from bench.core.values import shown
from defenses.at import AdversarialTraining
from defenses.awp import awp_around
from defenses.base import Attacked, Defense, Objective, Training, check_class
from defenses.ce_gradient import CEGradient
from defenses.composition import compose, is_composed
from defenses.cure import CURE
from defenses.fast import Fast
from defenses.full_jacobian import FullJacobian
from defenses.gradalign import GradAlign
from defenses.jacobian import Jacobian
from defenses.llr import LLR
from defenses.mart import MART
from defenses.mr import MR
from defenses.prs import PRS
from defenses.standard import Standard
from defenses.sum import sum_of
from defenses.trades import TRADES

__all__ = ["DEFENSES", "WRAPPERS", "Attacked", "Defense", "Objective", "Training", "get"]

#: A sum of names, or a wrapper around a name, is a valid name too. Those that papers report are listed.
DEFENSES = Registry(
    "defense",
    "bench.defenses",
    {
        "standard": lambda: Standard,
        "at": lambda: AdversarialTraining,
        "fast": lambda: Fast,
        "prs": lambda: PRS,
        "mr": lambda: MR,
        "jacobian": lambda: Jacobian,
        "jacobian+at": lambda: get("jacobian+at"),
        "ce-gradient": lambda: CEGradient,
        "full-jacobian": lambda: FullJacobian,
        "cure": lambda: CURE,
        "llr": lambda: LLR,
        "trades": lambda: TRADES,
        "mart": lambda: MART,
        "awp(at)": lambda: get("awp(at)"),
        "awp(trades)": lambda: get("awp(trades)"),
        "gradalign": lambda: GradAlign,
    },
)

#: Defenses that wrap another one.
WRAPPERS = {"awp": awp_around}


def get(name: str) -> type[Defense]:
    """Find the defense class of a name, of a `module:Class`, or of a composition of these.

    Raises:
        UserError: when there is none, the object found is no `Defense`, or the components cannot be combined.
    """
    if is_composed(name):
        return compose(name, get, sum_of, WRAPPERS)
    if name in WRAPPERS:
        raise UserError(f"{name} wraps another defense; write {name}(trades) or {name}(at)")
    found = DEFENSES.get(name)
    if not (isinstance(found, type) and issubclass(found, Defense)):
        origin = DEFENSES.origin(name)
        source = "" if origin == "built in" else f" (from {origin})"
        raise UserError(
            f"{name!r}{source} is no defense: expected a subclass of defenses.base.Defense, got {shown(found)}"
        )
    with DEFENSES.calling(name):
        check_class(found, name)
    return found

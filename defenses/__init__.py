"""The defenses: one file and one line of the registry each."""

from typing import TYPE_CHECKING

from bench.core.errors import UserError
from bench.core.lazy import imported_from
from bench.core.registry import Registry, imported_on_use
from bench.core.values import shown

if TYPE_CHECKING:
    from defenses.base import Attacked, Defense, Objective, Training
else:
    __getattr__ = imported_from(__name__, {"defenses.base": ("Attacked", "Defense", "Objective", "Training")})

__all__ = ["DEFENSES", "WRAPPERS", "Attacked", "Defense", "Objective", "Training", "get"]

#: A sum of names, or a wrapper around a name, is a valid name too. Those that papers report are listed.
DEFENSES = Registry(
    "defense",
    "bench.defenses",
    {
        "standard": imported_on_use("defenses.standard:Standard"),
        "at": imported_on_use("defenses.at:AdversarialTraining"),
        "fast": imported_on_use("defenses.fast:Fast"),
        "free": imported_on_use("defenses.free:Free"),
        "prs": imported_on_use("defenses.prs:PRS"),
        "mr": imported_on_use("defenses.mr:MR"),
        "jacobian": imported_on_use("defenses.jacobian:Jacobian"),
        "jacobian+at": lambda: get("jacobian+at"),
        "ce-gradient": imported_on_use("defenses.ce_gradient:CEGradient"),
        "full-jacobian": imported_on_use("defenses.full_jacobian:FullJacobian"),
        "cure": imported_on_use("defenses.cure:CURE"),
        "llr": imported_on_use("defenses.llr:LLR"),
        "trades": imported_on_use("defenses.trades:TRADES"),
        "mart": imported_on_use("defenses.mart:MART"),
        "awp(at)": lambda: get("awp(at)"),
        "awp(trades)": lambda: get("awp(trades)"),
        "gradalign": imported_on_use("defenses.gradalign:GradAlign"),
    },
)

#: Defenses that wrap another one.
WRAPPERS = {"awp": imported_on_use("defenses.awp:awp_around")}


def get(name: str) -> "type[Defense]":
    """Find the defense class of a name, of a `module:Class`, or of a composition of these.

    Raises:
        UserError: when there is none, the object found is no `Defense`, or the components cannot be combined.
    """
    from defenses.base import Defense, check_class
    from defenses.composition import compose, is_composed
    from defenses.sum import sum_of

    if is_composed(name):
        return compose(name, get, sum_of, {each: wrapper() for each, wrapper in WRAPPERS.items()})
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

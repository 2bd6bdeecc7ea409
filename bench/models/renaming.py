"""Fit the names in a checkpoint to those of a network, which wrappers put prefixes before."""

from collections.abc import Sequence

from torch import nn

#: What DataParallel, `torch.compile` and Lightning put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.")
#: Forms of the names that are tried; chains of prefixes are short.
MOST_FORMS = 32


def renaming(names: Sequence[str], module: nn.Module) -> dict[str, str]:
    """The name in the network of every name in a checkpoint: new → old.

    The names are tried as they are first, then without one prefix after another, on both sides. The form with the
    most names of the network is taken; of equals, the first.

    Args:
        names: of the checkpoint.
        module: the network.
    """
    expected = list(module.state_dict())
    parents = {name for name, _ in module.named_modules() if name}
    best: tuple[tuple[int, int], str, list[str]] = ((-1, -1), "", list(names))
    for form in _forms(names):
        for prefix in _common_prefixes(expected):
            own = {name.removeprefix(prefix) for name in expected}
            homes = {name.removeprefix(prefix) for name in parents}
            # Old weight norm has other names than new; its layers are called the same.
            score = (
                sum(name in own for name in form),
                sum(name.rpartition(".")[0] in homes for name in form),
            )
            if score > best[0]:
                best = (score, prefix, form)
    _, prefix, form = best
    return {prefix + new: old for new, old in zip(form, names, strict=True)}


def _forms(names: Sequence[str]) -> list[list[str]]:
    """The names as they are, and with any chain of prefixes removed; never two names that become one."""
    forms = [list(names)]
    for form in forms:
        for prefix in PREFIXES:
            if prefix == "_orig_mod.":  # also before a part of the network
                shorter = [name.replace(prefix, "") for name in form]
            else:
                shorter = [name.removeprefix(prefix) for name in form]
            if shorter not in forms and len(set(shorter)) == len(names) and len(forms) < MOST_FORMS:
                forms.append(shorter)
    return forms


def _common_prefixes(names: Sequence[str]) -> list[str]:
    """The chains of prefixes, from "" on, that every name begins with."""
    chains = [""]
    for chain in chains:
        chains += [
            chain + prefix
            for prefix in PREFIXES
            if names and all(name.startswith(chain + prefix) for name in names)
        ]
    return chains


def other_prefix(names: Sequence[str], expected: Sequence[str]) -> list[str]:
    """Say that one side has a prefix before every name, where the names agree without it; [] otherwise."""
    for longer, shorter, whose, other in (
        (names, expected, "checkpoint's", "network's"),
        (expected, names, "network's", "checkpoint's"),
    ):
        prefix, others = "", set(shorter)
        while len(heads := {name.removeprefix(prefix).partition(".")[0] for name in longer}) == 1:
            prefix += f"{heads.pop()}."
            if any(name.removeprefix(prefix) in others for name in longer):
                return [f"the {whose} names begin with {prefix!r}, the {other} do not"]
            if any(not name.startswith(prefix) for name in longer):
                break
    return []

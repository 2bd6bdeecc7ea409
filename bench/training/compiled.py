"""Passes of training through the kernels that `torch.compile` makes of a network's backbone."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bench.core.classifier import AnyClassifier, Classifier
from bench.core.errors import UserError
from bench.training.ranks import count, replaced

#: The precision of such a training: bfloat16 by autocast, as "bf16", with other kernels.
COMPILED = "bf16-compiled"
#: Compiled forms of one architecture in a process: training and attack, for each width and each shape of a batch. A
#: process of a sweep meets many.
_FORMS = 10_000


class CompiledPasses:
    """Lets the passes of a classifier go through compiled kernels, a form for each mode.

    They are compiled in the first pass of a form, which takes seconds, and kept on the machine by torch. None is
    chosen by timing it, so that the same seed gives the same weights in another process.

    Args:
        classifier: its weights, names and modes are those of the network, and it stays uncompiled elsewhere.

    Raises:
        UserError: when its passes cannot be replaced, or several processes divide them.
    """

    def __init__(self, classifier: AnyClassifier) -> None:
        if not isinstance(classifier, Classifier):
            raise UserError(
                f"--precision {COMPILED} compiles networks of this package; give --precision bf16"
            )
        if count() > 1:
            raise UserError(
                f"--precision {COMPILED} trains in one process; give --precision bf16 under torchrun"
            )
        self._backbone = classifier.backbone
        self._forward: Any = torch.compile(
            classifier.backbone.forward, fullgraph=True, dynamic=False, options={"deterministic": True}
        )

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Compiled passes while the block runs.

        Raises:
            UserError: when a pass cannot be compiled, as one whose gradient is differentiated again.
        """
        limits = torch._dynamo.config.patch(recompile_limit=_FORMS, accumulated_recompile_limit=_FORMS)
        with limits, replaced(self._backbone, self._forward), warnings.catch_warnings():
            # The compiler reads it of every tensor that it meets.
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor", category=UserWarning)
            try:
                yield
            except RuntimeError as error:
                if not _of_compiler(error):
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise UserError(
                    f"this training cannot be compiled: {reason}; give --precision bf16 or fp32"
                ) from error


def _of_compiler(error: RuntimeError) -> bool:
    return isinstance(error, torch._dynamo.exc.TorchDynamoException) or "torch.compile" in str(error)

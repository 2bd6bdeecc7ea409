"""Notice that the iterates of an attack repeat, so that the remaining steps need not be taken.

With steps of a fixed length, an iterate that returns exactly to an earlier one goes through the same points for
ever. Most images that survive projected gradient descent in an ℓ∞ ball do so after some tens of steps, most of them
with a period of 2.

Source: Doldo et al. 2025, Stop Walking in Circles! Bailing Out Early in Projected Gradient Descent. We find cycles
by comparing each iterate with one kept earlier, after Brent's algorithm, instead of by hashing every iterate.
"""

import torch
from torch import Tensor

#: The kept iterate is replaced by the present one after this many steps, or after a quarter of those taken so far.
SHORTEST_WINDOW, WINDOW_SHARE = 4, 4


class Cycles:
    """The periods of the images that an attack has not broken.

    Stochastic networks have no cycles. A network is taken for one when it draws from torch's global random states,
    or when it gives another margin at the same iterate of any image.

    Args:
        images: [B], only for their number and device.
        steps: steps of the attack.
    """

    def __init__(self, images: Tensor, steps: int) -> None:
        self._steps = steps
        self._kept_at = -1
        self._deterministic = True
        self._random_states = _random_states()
        # Of every image of the attack: the iteration after which it was left alone, and its period.
        self._ended = torch.full((len(images),), steps, device=images.device)
        self._period = torch.ones_like(self._ended)
        self._points = self._margins = self._periods = images.new_empty(0)

    def find(self, iteration: int, points: Tensor, margins: Tensor) -> Tensor:
        """The images whose present iterate is also their last one: bool [B].

        Args:
            iteration: steps taken so far.
            points: the iterates [B, C, H, W].
            margins: the network's decision function there [B].
        """
        if iteration == 0:
            self._periods = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        else:
            back = (points == self._points).flatten(1).all(dim=1)
            other = back & ~torch.isclose(margins, self._margins, rtol=1e-4, atol=1e-5)
            self._deterministic &= _random_states() == self._random_states and not bool(other.any())
            if not self._deterministic:
                return torch.zeros_like(back)
            self._periods[back & (self._periods == 0)] = iteration - self._kept_at
        if iteration == 0 or iteration - self._kept_at >= max(SHORTEST_WINDOW, iteration // WINDOW_SHARE):
            self._points, self._margins, self._kept_at = points, margins, iteration
        return (self._periods > 0) & ((self._steps - iteration) % self._periods.clamp_min(1) == 0)

    def end(self, iteration: int, ended: Tensor, images: Tensor) -> None:
        """Note that the attack leaves images alone.

        Args:
            iteration: steps taken so far.
            ended: bool [B] among the images of the last `find`.
            images: their positions among all images of the attack.
        """
        self._ended[images] = iteration
        self._period[images] = self._periods[ended]

    def keep(self, stay: Tensor) -> None:
        """Go on with the images at these positions."""
        self._points, self._margins, self._periods = (
            part[stay] for part in (self._points, self._margins, self._periods)
        )

    def complete(self, trace: Tensor) -> Tensor:
        """Fill in what the images would have gone through: trace [steps + 1, images]."""
        iterations = torch.arange(self._steps + 1, device=trace.device).unsqueeze(1)
        beyond = (iterations - self._ended).clamp_min(0)
        earlier = self._ended - self._period + beyond % self._period
        return trace.gather(0, torch.where(beyond > 0, earlier, iterations))


def _random_states() -> list[bytes]:
    """Torch's global random states, of the CPU and of every GPU."""
    states = [torch.random.get_rng_state()]
    if torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy().tobytes() for state in states]

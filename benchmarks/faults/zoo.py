"""Networks and checkpoints as people have them, on the digits; each function makes one for `--loader zoo:NAME`.

Run as a script it trains the weights that all share, and writes the checkpoints beside itself.
"""

# ruff: noqa: D101, D102, D103, E731 (a list of networks, and their names say what they are)
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights-.pt"


def fresh() -> nn.Sequential:
    """The architecture, with weights of its own."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )  # fmt: skip


def plain() -> nn.Sequential:
    """With the weights that all share."""
    network = fresh()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return network.eval()


class Around(nn.Module):
    """A network between a change of its images and one of its logits."""

    def __init__(
        self,
        before: Callable | None = None,
        after: Callable | None = None,
        network: Callable[[], nn.Module] = plain,
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network(), before, after

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(self.before(images) if self.before else images)
        return self.after(logits) if self.after else logits


# Networks that write into their input.
in_place_normalize = lambda: Around(lambda x: x.sub_(0.0).div_(1.0))
in_place_relu = lambda: nn.Sequential(nn.ReLU(inplace=True), plain())
in_place_scripted = lambda: torch.jit.script(in_place_relu())


def writes_data() -> nn.Module:
    def change(images: Tensor) -> Tensor:
        images.data.mul_(0.9)
        return images

    return Around(change)


def copying_data() -> nn.Module:
    def change(images: Tensor) -> Tensor:
        images.data.copy_((images * 15).round() / 16)
        return images

    return Around(change)


def writes_numpy() -> nn.Module:
    def change(images: Tensor) -> Tensor:
        images.detach().numpy()[:] *= 0.9
        return images

    return Around(change)


def writes_from_five_on() -> nn.Module:
    return Around(lambda x: x.mul_(0.9) if len(x) >= 5 and not x.requires_grad else x)


# Networks that fail on some images.
through_numpy = lambda: Around(lambda x: torch.from_numpy(x.numpy()))
fails_beyond_two = lambda: Around(lambda x: x if len(x) <= 2 else x.nothing)
fails_beyond_fifty = lambda: Around(lambda x: x if len(x) <= 50 else x.nothing)
fails_alone = lambda: Around(lambda x: x + 0 * x[1])
squeezes = lambda: Around(after=lambda logits: logits.squeeze())
nan_everywhere = lambda: Around(after=lambda logits: logits * torch.nan)


def nan_off_grid() -> nn.Module:
    def spoil(images: Tensor) -> Tensor:
        off = (images * 255 - (images * 255).round()).abs() > 1e-3
        return torch.where(off, torch.nan, images)

    return Around(spoil)


class OneWay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise NotImplementedError("no way back")


not_differentiable = lambda: Around(OneWay.apply)


# Networks whose predictions depend on the batch, or on chance.
def batch_statistics() -> nn.Module:
    network = plain()
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    return network


centered_on_batch = lambda: Around(lambda x: x - 0.5 * x.mean(dim=0, keepdim=True))


def by_position() -> nn.Module:
    return Around(lambda x: x * (1 - 0.5 * (torch.arange(len(x)) % 2).view(-1, 1, 1, 1)))


noisy = lambda: Around(lambda x: x + 0.1 * torch.randn_like(x))


# Networks of another kind.
class ExtraState(Around):
    def get_extra_state(self) -> dict:
        return {"classes": ["zero", "one"]}

    def set_extra_state(self, state: dict) -> None:
        assert "classes" in state


extra_state = ExtraState
fresh_extra_state = lambda: ExtraState(network=fresh)
quantized = lambda: torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, dtype=torch.qint8)
scripted = lambda: torch.jit.script(plain())
traced = lambda: torch.jit.trace(plain(), torch.rand(2, 1, 8, 8))
frozen = lambda: torch.jit.freeze(scripted())
data_parallel = lambda: nn.DataParallel(plain())
compiled = lambda: torch.compile(plain(), backend="eager", dynamic=True)
double_weights = lambda: plain().double()
half_logits = lambda: Around(after=lambda logits: logits.half())
tuple_logits = lambda: Around(after=lambda logits: (logits, logits))
inference_mode = lambda: Around(network=lambda: plain(), after=torch.inference_mode()(lambda x: x + 0))
no_module = lambda: 3
brighter = lambda: Around(lambda x: (1.2 * x).clamp(max=1))


def double_default() -> nn.Module:
    torch.set_default_dtype(torch.float64)
    return plain()


def no_gradients_left() -> nn.Module:
    torch.set_grad_enabled(False)
    return plain()


def bfloat16_buffer() -> nn.Module:
    network = Around()
    network.register_buffer("note", torch.ones(3, dtype=torch.bfloat16))
    return network


lazy = lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def raises() -> nn.Module:
    raise ValueError("no weights here")


# Networks for checkpoints to fill.
fresh_parallel = lambda: nn.DataParallel(fresh())
fresh_compiled = lambda: torch.compile(fresh(), backend="eager", dynamic=True)
fresh_around = lambda: Around(network=fresh)


def fresh_weight_norm() -> nn.Module:
    network = fresh()
    torch.nn.utils.parametrizations.weight_norm(network[-1])
    return network


def train() -> None:
    """Ten epochs on the digits."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = (
        torch.tensor(digits.images / 16, dtype=torch.float32)[:, None],
        torch.tensor(digits.target),
    )
    network = fresh()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(10):
        for index in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(network(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save(network.state_dict(), WEIGHTS)


def write_checkpoints() -> None:
    """Every checkpoint of the list in `networks.py`."""
    from safetensors.torch import save_file

    def write(name: str, weights: dict, suffixes: tuple[str, ...] = ("pt", "safetensors")) -> None:
        if "pt" in suffixes:
            torch.save(weights, HERE / f"weights-{name}.pt")
        if "safetensors" in suffixes:
            tensors = {key: value.clone() for key, value in weights.items() if isinstance(value, Tensor)}
            save_file(tensors, HERE / f"weights-{name}.safetensors")

    weights = plain().state_dict()
    for chain in ("", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.", "net."):
        write(chain.removesuffix("."), {chain + key: value for key, value in weights.items()})
    write("no_counter", {key: value for key, value in weights.items() if "num_batches" not in key})
    old = plain()
    torch.nn.utils.weight_norm(old[-1])
    write("old_weight_norm", old.state_dict())
    write("extra_state", ExtraState().state_dict())
    write("nested", {"epoch": 3, "net": weights}, ("pt",))
    torch.save(weights, HERE / "weights-legacy.pt", _use_new_zipfile_serialization=False)
    scripted().save(str(HERE / "weights-script.pt"))
    torch.save(plain(), HERE / "weights-whole.pt")
    write("nan", {key: value * torch.nan for key, value in weights.items()}, ("pt",))
    write("other", nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), ("pt",))


if __name__ == "__main__":
    train()
    write_checkpoints()

"""Training steps beside the loops that a researcher would write.

Each takes the same steps from the same weights on the same batch: the usual PyTorch loop in float32, that loop
tuned (bfloat16 autocast and channels innermost), for standard training also one in the manner of the fastest
published trainings of CIFAR-10 (weights in bfloat16, channels innermost, SGD with Nesterov momentum; Jordan,
arXiv 2404.00498), for adversarial training one as the studies of robust overfitting take it (Rice et al., arXiv
2002.11569), and ours in the precision that `--precision auto` chooses. All attack in training mode. First the
losses of a step are compared: in float32 ours must be that of the usual loop, in bfloat16 and where PGD draws
other random starts, within 2 %. Validation and what surrounds a step are left out.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.classifier import Classifier
from bench.core.threat import Threat
from bench.data import Split
from bench.models import build
from bench.training.device import channels_innermost, lay_out
from bench.training.precision import choose
from bench.training.recipe import make_recipe
from bench.training.step import take_step
from benchmarks.speed.floor import floor
from benchmarks.speed.rows import Row, in_turn
from defenses import get
from defenses.base import Training

SHAPE, CLASSES = (3, 32, 32), 10
THREAT = Threat("linf", "8/255")
NETWORKS = ("cnn6", "vgg16", "resnet18")
#: Images of a batch.
BATCH = 128
#: Steps of PGD in adversarial training; 0 is standard training.
STEPS = (0, 10, 20)
#: So long that `auto` makes its trial.
EPOCHS = 1000
#: By how much a first loss may differ from the usual loop's, where the arithmetic is the same and where it is not.
EXACT, ROUNDED = 1e-4, 0.02

#: Takes a step and returns its loss.
Step = Callable[[], float]


def rows(networks: list[str], rounds: int) -> Iterator[Row]:
    """Each network and kind of training beside each loop."""
    for model in networks:
        for steps in STEPS:
            yield from rows_of(model, steps, rounds)


def rows_of(model: str, steps: int, rounds: int) -> Iterator[Row]:
    """One network and kind of training beside each loop."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (BATCH, *SHAPE), generator=generator, dtype=torch.uint8)
    split = Split(pixels, torch.randint(CLASSES, (len(pixels),), generator=generator))
    auto, precision = our_loop(model, steps, split, None)
    kind = f"PGD-{steps} adversarial" if steps else "standard"
    work = f"{kind} step, {model}, batch {len(pixels)}, auto = {precision}"
    least = floor(auto, precision)
    peers: dict[str, Step] = {
        "usual loop, fp32": usual_loop(model, steps, split, tuned=False),
        "usual loop, bf16, channels innermost": usual_loop(model, steps, split, tuned=True),
    }
    if steps:
        peers["robust overfitting's loop, fp32"] = overfitting_loop(model, steps, split)
    else:
        peers["speedrun's loop, bf16 weights"] = speedrun_loop(model, split)
    first = {name: step() for name, step in peers.items()}
    usual = first["usual loop, fp32"]
    exact = check(our_loop(model, steps, split, "fp32")[0](), usual, ROUNDED if steps else EXACT)
    ours = our_loop(model, steps, split, None)[0]()
    check(ours, usual, EXACT if precision == "fp32" and not steps else ROUNDED)
    for name, step in peers.items():
        off = check(first[name], ours, ROUNDED)
        checked = f"first losses differ by {off:.0e}, in float32 by {exact:.0e}"
        yield in_turn(work, name, checked, auto, step, rounds, floor=least, warm=True)


def check(loss: float, expected: float, most: float) -> float:
    """The relative difference of two losses; refused where it is too large."""
    difference = abs(loss - expected) / expected
    if not difference <= most:
        raise SystemExit(f"the first loss differs by {difference:.2g}, at most {most} was expected")
    return difference


def network(model: str) -> Classifier:
    """A network with the same initial weights in every way."""
    return build(model, input_shape=SHAPE, num_classes=CLASSES, seed=0).train()


def usual_loop(model: str, steps: int, split: Split, *, tuned: bool) -> Step:
    """A step of the loop that a researcher would write."""
    classifier = network(model)
    if tuned:
        lay_out(classifier, torch.channels_last)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            return F.cross_entropy(classifier(images), labels)

    def step() -> float:
        images, labels = split.batch(slice(None))
        if tuned:
            images = images.contiguous(memory_format=torch.channels_last)
        if steps:
            images = images + perturbation(loss_of, images, labels, steps, of_input)
        return update(optimizer, loss_of(images, labels))

    return step


def overfitting_loop(model: str, steps: int, split: Split) -> Step:
    """A step that takes the parameters' gradients too in each step of the attack, and two more passes.

    The attack's last iterate is passed once more, to be compared with other restarts, and the clean images too, for
    the log.
    """
    classifier = network(model)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(classifier(images), labels)

    def step() -> float:
        images, labels = split.batch(slice(None))
        attacked = images + perturbation(loss_of, images, labels, steps, of_everything)
        loss_of(attacked, labels)
        loss = update(optimizer, loss_of(attacked, labels))
        loss_of(images, labels)
        return loss

    return step


def perturbation(
    loss_of: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    steps: int,
    gradient_of: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """What PGD adds to the images, with steps of ε/4 from a random start."""
    eps = float(THREAT.exact)
    delta = torch.empty_like(images).uniform_(-eps, eps)
    delta = (images + delta).clamp(0, 1) - images
    for _ in range(steps):
        delta.requires_grad_()
        gradient = gradient_of(loss_of(images + delta, labels), delta)
        delta = (delta.detach() + eps / 4 * gradient.sign()).clamp(-eps, eps)
        delta = (images + delta).clamp(0, 1) - images
    return delta


def of_input(loss: Tensor, delta: Tensor) -> Tensor:
    """The gradient for the perturbation alone."""
    (gradient,) = torch.autograd.grad(loss, delta)
    return gradient


def of_everything(loss: Tensor, delta: Tensor) -> Tensor:
    """The gradient for the perturbation, from a backward pass that reaches the parameters too."""
    loss.backward()
    assert delta.grad is not None
    return delta.grad


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    """A step of the optimizer down a loss, which is returned as it was before."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def speedrun_loop(model: str, split: Split) -> Step:
    """A step with weights and images in bfloat16; batch norm stays in float32."""
    classifier = network(model).to(torch.bfloat16)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    lay_out(classifier, torch.channels_last)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.01, momentum=0.85, nesterov=True, foreach=True)

    def step() -> float:
        images, labels = split.batch(slice(None))
        images = images.to(torch.bfloat16, memory_format=torch.channels_last)
        return update(optimizer, F.cross_entropy(classifier(images).float(), labels))

    return step


def our_loop(model: str, steps: int, split: Split, precision: str | None) -> tuple[Step, str]:
    """A step as `bench run` takes it, and its precision; None leaves this to `auto`."""
    classifier, recipe = network(model), make_recipe(f"paper,batch_size={len(split)}")
    # The peer's attack leaves batch norm in training mode.
    values = {"steps": steps, "attack_mode": "train"}
    defense = get("at").make(values) if steps else get("standard").make({})
    if precision is None:
        precision = choose(defense, classifier, split, recipe, THREAT, EPOCHS, model).precision
    innermost = channels_innermost(torch.device("cpu"), precision)
    if innermost:
        lay_out(classifier, torch.channels_last)
    objective = defense.objective(Training(classifier, split, THREAT, 1, 0, len(split)))
    objective.begin_epoch(1)
    optimizer = recipe.make_optimizer(classifier.parameters())

    def step() -> float:
        images, labels = split.batch(slice(None))
        if innermost:
            images = images.contiguous(memory_format=torch.channels_last)
        return float(take_step(objective, classifier, optimizer, images, labels, recipe.lr, precision))

    return step, precision

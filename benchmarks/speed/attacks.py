"""PGD and AutoAttack beside foolbox, ART, torchattacks and pyautoattack.

The peers are installed with pip in separate environments, in an ignored folder, on the first run. Each environment
holds peers that are compatible with each other, and takes all other packages from the environment that runs this.
One process there imports our code and the peer, and runs them in turn.

Images are resized to CIFAR's 3x32x32. Two networks are trained for a few epochs: one by standard training, and one
from its weights on single-step adversarial images. After so few epochs both misclassify many images, and an image
that is misclassified without attack costs us one pass, but a peer twenty steps. So the attacked images are chosen
to have the clean accuracy of fully trained networks on CIFAR-10: 80 % for the robust network, 95 % for the
undefended one. They are attacked in the data's own ℓ∞ ball with steps of 2.5·ε/20. "Default" peers are called as in
their tutorials; "tuned" peers get frozen parameters and the batch size with the least time per image.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attacks import Attack, maximise
from bench.attacks.autoattack import Passes, autoattack
from bench.core.classifier import Classifier
from bench.core.guards import channels_last, frozen
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import defaults_of, load
from bench.models import build
from bench.models.weights import load_weights, save_weights
from benchmarks.speed.rows import Row, in_turn, timed

SHAPE = (3, 32, 32)
#: Images for AutoAttack.
AUTOATTACKED = 24
PGD = Attack("pgd20", steps=20)

#: Environment → peers that it holds.
ENVIRONMENTS = {
    "foolbox-art": ("foolbox", "adversarial-robustness-toolbox"),
    "torchattacks": ("torchattacks",),
}
#: Network → number of attacked images, largest number of training images, epochs.
SIZES = {"cnn6": (192, 20000, 8), "resnet18": (64, 8000, 5)}
#: Training → the share of attacked images that are correctly classified without attack.
TRAININGS = {"robust": 0.8, "undefended": 0.95}
BATCH_SIZES = (16, 32, 64, 128)
#: Images per training step.
BATCH = 64

#: Images [B, C, H, W] and labels [B] to adversarial images.
Perturb = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Options:
    """What is attacked, and where what was made is kept.

    Attributes:
        networks: names, of those in `SIZES`.
        data: as `bench run --dataset`, ten classes.
        folder: of environments and weights.
        rounds: how often each attack runs.
    """

    networks: tuple[str, ...]
    data: str
    folder: Path
    rounds: int

    def place(self) -> "Place":
        """The images, and the folder of what belongs to this data set."""
        kept = self.folder / "".join(letter if letter.isalnum() else "-" for letter in self.data)
        kept.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n")
        return place_for(self.data, kept)


def rows(options: Options) -> Iterator[Row]:
    """PGD-20 beside each peer, default and tuned. Peers that cannot be installed are named and left out."""
    place = options.place()
    for network in options.networks:
        for training in TRAININGS:
            trained(network, training, place)
    for name, packages in ENVIRONMENTS.items():
        try:
            python = environment(options.folder / name, packages)
        except subprocess.CalledProcessError:
            print(f"left out: {', '.join(packages)}, which could not be installed", file=sys.stderr)
            continue
        yield from within(name, python, options)


def within(name: str, python: Path, options: Options) -> Iterator[Row]:
    """Run the peers of one environment in a process of that environment, which imports this code."""
    words = [name, options.data, str(options.folder), str(options.rounds), *options.networks]
    ours = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"}
    command = [str(python), "-m", "benchmarks.speed.attacks", *words]
    done = subprocess.run(command, env=os.environ | ours, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield Row(**json.loads(line))


def main() -> None:
    """Print the rows of one environment, one JSON object a line; `within` calls this."""
    name, data, folder, rounds, *networks = sys.argv[1:]
    torch.set_num_threads(1)
    options = Options(tuple(networks), data, Path(folder), int(rounds))
    for network in networks:
        for row in beside_peers(name, network, options):
            print(json.dumps(asdict(row)), flush=True)


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """The interpreter of an environment that adds these packages to the running one; created when missing."""
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "ours.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path) + "\n")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr.fileno()
        )
        ready.touch()
    return python.absolute()


# Networks and data


@dataclass
class Place:
    """The data, and the folder of the files that the environments share.

    Attributes:
        folder: folder of the networks and images.
        images, labels: images to attack and their labels, float32 [n, 3, 32, 32] in [0, 1], int64 [n].
        threat: the default of the data set, ℓ∞.
    """

    folder: Path
    images: Tensor
    labels: Tensor
    threat: Threat

    @property
    def step(self) -> float:
        """The length of each of the twenty steps."""
        return 2.5 * self.threat.radius / 20

    def attacked(self, network: Classifier, training: str, count: int) -> tuple[Tensor, Tensor]:
        """At most `count` images with labels, of which the share given by `TRAININGS` is correctly classified."""
        right = predicted(network, self.images) == self.labels
        yes, no = right.nonzero().squeeze(1), (~right).nonzero().squeeze(1)
        share = TRAININGS[training]
        count = min(count, int(len(yes) / share), int(len(no) / (1 - share)))
        wrong = round(count * (1 - share))
        rows = torch.cat((yes[: count - wrong], no[:wrong])).sort().values
        return self.images[rows], self.labels[rows]


def place_for(data: str, folder: Path) -> Place:
    """Load the images to train on and to attack; later calls read them from the folder."""
    threat = Threat.parse(defaults_of(data).threat)
    if not (folder / "images.safetensors").exists():
        dataset = load(data)
        parts = {}
        for part, split, count in (("train", dataset.train, 20000), ("test", dataset.test, 1000)):
            draw = make_generator("attack benchmark", part)
            rows = torch.randperm(len(split), generator=draw)[:count]
            images, labels = split.batch(rows)
            large = F.interpolate(images, SHAPE[1:], mode="bilinear", align_corners=False)
            parts[f"{part} images"] = large.clamp(0, 1).expand(-1, SHAPE[0], -1, -1).contiguous()
            parts[f"{part} labels"] = labels
        save_file(parts, folder / "images.safetensors")
    parts = load_file(folder / "images.safetensors")
    return Place(folder, parts["test images"], parts["test labels"], threat)


def trained(name: str, training: str, place: Place) -> Classifier:
    """Train a network of `bench.models` for ten classes; later calls read it from the folder.

    Training of the robust network continues from the undefended one, for half as many epochs.
    """
    path = place.folder / f"{name}-{training}.safetensors"
    network = build(name, input_shape=SHAPE, num_classes=10, mean=[0.5] * 3, std=[0.25] * 3, seed=0)
    if path.exists():
        network.load_state_dict(load_weights(path))
        return network.eval()
    robust = training == "robust"
    if robust:
        network.load_state_dict(trained(name, "undefended", place).state_dict())
    parts = load_file(place.folder / "images.safetensors")
    _, count, epochs = SIZES[name]
    epochs = epochs // 2 if robust else epochs
    images, labels = parts["train images"][:count], parts["train labels"][:count]
    print(f"training {name}, {training}: {epochs} epochs of {len(images)} images", file=sys.stderr)
    generator = make_generator("attack benchmark", name, training)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(images) // BATCH))
    step = partial(maximise, threat=place.threat, generator=generator, steps=1)
    network.train()
    with channels_last(network):
        for _ in range(epochs):
            for rows in torch.randperm(len(images), generator=generator).split(BATCH):
                points, goals = images[rows], labels[rows]
                if robust:
                    points = step(network, points, goals, step_size=1.25 * place.threat.radius)
                optimizer.zero_grad()
                F.cross_entropy(network(points), goals).backward()
                optimizer.step()
                schedule.step()
        tensors = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(tensors)
    save_weights(path, network)
    return network.eval()


# Peers


@dataclass
class Peer:
    """PGD-20 of another package.

    Attributes:
        name: name and version of the package.
        tutorial_batch: the batch size in its documentation; None is all images.
        make: (network, place, batch size, random start) to a function of images and labels.
    """

    name: str
    tutorial_batch: int | None
    make: Callable[[Classifier, Place, int, bool], Perturb]


def peers_of(environment_name: str) -> list[Peer]:
    """The peers that an environment holds."""
    if environment_name == "torchattacks":
        return [Peer(f"torchattacks {version('torchattacks')}", None, _torchattacks)]
    art = version("adversarial-robustness-toolbox")
    return [Peer(f"foolbox {version('foolbox')}", None, _foolbox), Peer(f"ART {art}", 32, _art)]


def _batched(attack: Perturb, size: int) -> Perturb:
    def run(images: Tensor, labels: Tensor) -> Tensor:
        pairs = zip(images.split(size), labels.split(size), strict=True)
        return torch.cat([attack(*pair) for pair in pairs])

    return run


def _foolbox(network: Classifier, place: Place, size: int, random_start: bool) -> Perturb:
    foolbox = import_module("foolbox")
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=place.step, steps=20, random_start=random_start)

    def run(images: Tensor, labels: Tensor) -> Tensor:
        return attack(model, images, labels, epsilons=place.threat.radius)[1].detach()

    return _batched(run, size)


def _art(network: Classifier, place: Place, size: int, random_start: bool) -> Perturb:
    estimator = import_module("art.estimators.classification").PyTorchClassifier(
        network, nn.CrossEntropyLoss(), SHAPE, 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = import_module("art.attacks.evasion").ProjectedGradientDescent(
        estimator, eps=place.threat.radius, eps_step=place.step, max_iter=20,
        num_random_init=int(random_start), batch_size=size, verbose=False,
    )  # fmt: skip
    return lambda images, labels: torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))


def _torchattacks(network: Classifier, place: Place, size: int, random_start: bool) -> Perturb:
    attack = import_module("torchattacks").PGD(
        network, eps=place.threat.radius, alpha=place.step, steps=20, random_start=random_start
    )
    return _batched(lambda images, labels: attack(images, labels), size)


# PGD-20


def beside_peers(environment_name: str, name: str, options: Options) -> Iterator[Row]:
    """Compare every peer of an environment on one network, robust and undefended."""
    place = options.place()
    for training in TRAININGS:
        network = trained(name, training, place)
        images, labels = place.attacked(network, training, SIZES[name][0])
        best = fastest_batch(network, images, labels)
        ours = partial(PGD, network, images, labels, place.threat, make_generator("benchmark"))
        for peer in peers_of(environment_name):
            for manner in ("default", "tuned"):
                size = best if manner == "tuned" else peer.tutorial_batch or len(images)
                with frozen(network) if manner == "tuned" else nullcontext():
                    checked = compare(
                        network, images, labels, place.threat, peer.make(network, place, size, False)
                    )
                    theirs = partial(peer.make(network, place, size, True), images, labels)
                    work = f"PGD-20, {training} {name}, {len(images)} images, {place.threat}"
                    yield in_turn(
                        work, f"{peer.name}, {manner}, batch {size}", checked, ours, theirs, options.rounds
                    )


def predicted(network: Classifier, images: Tensor) -> Tensor:
    """Predicted classes [n]."""
    with torch.no_grad():
        return torch.cat([network(some).argmax(dim=1) for some in images.split(64)])


def compare(network: Classifier, images: Tensor, labels: Tensor, threat: Threat, peer: Perturb) -> str:
    """Compare both attacks without random start, in float32: agreement of the last iterates, and the broken images.

    Our attack keeps the first iterate that broke an image, peers return the last one; so ours may break more.
    """
    theirs = peer(images, labels)
    if not threat.allows(theirs, images, tolerance=1e-4).all():
        raise SystemExit("the peer left ball or box")
    last = maximise(network, images, labels, threat, make_generator(0), steps=20, random_start=False)
    ours = Attack("pgd20", 20, random_start=False)(network, images, labels, threat, make_generator(0))
    their_hits = predicted(network, theirs) != labels
    agree = (their_hits == (predicted(network, last) != labels)).float().mean()
    only_peer, only_ours = (their_hits & ~ours.broken).sum(), (ours.broken & ~their_hits).sum()
    return (
        f"last iterates agree on {agree:.1%}; broken by the peer alone {only_peer}, by us alone {only_ours}"
    )


def fastest_batch(network: Classifier, images: Tensor, labels: Tensor) -> int:
    """The batch size with the least time per image for a forward pass and an input gradient."""

    def passes(size: int) -> None:
        points = images[:size].clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(network(points), labels[:size]), points)

    def cost(size: int) -> float:
        passes(size)
        return min(timed(partial(passes, size))[0] for _ in range(3)) / size

    with frozen(network):
        return min((size for size in BATCH_SIZES if size <= len(images)), key=cost)


# AutoAttack


def autoattack_rows(options: Options) -> Iterator[Row]:
    """AutoAttack on the robust cnn6, with each kind of passes, beside the package called directly."""
    from pyautoattack import AutoAttack, checks

    checks.check_dynamic = lambda *args, **kwargs: None  # it sets sys.settrace, which is slow
    place = options.place()
    network = trained("cnn6", "robust", place)
    images, labels = place.attacked(network, "robust", AUTOATTACKED)
    found: dict[str, Tensor] = {}

    def package() -> None:
        suite = AutoAttack(network, norm="Linf", eps=place.threat.radius, seed=0)
        found["package"] = suite.run_standard_evaluation(images, labels, batch_size=250)[0]

    def ours(passes: Passes) -> None:
        result = autoattack(network, images, labels, place.threat, seed=0, passes=passes)
        found[passes] = result.adversarial

    package()
    broken = predicted(network, found["package"]) != labels
    for passes in get_args(Passes):
        call = partial(ours, passes)
        call()
        same = int((found[passes] == found["package"]).flatten(1).all(dim=1).sum())
        differ = int(((predicted(network, found[passes]) != labels) != broken).sum())
        checked = f"{same} of {len(images)} images the same, {differ} verdicts differ"
        work = f"AutoAttack {passes}, robust cnn6, {len(images)} images, {place.threat}"
        yield in_turn(work, f"pyautoattack {version('pyautoattack')}", checked, call, package, 1, warm=True)


if __name__ == "__main__":
    main()

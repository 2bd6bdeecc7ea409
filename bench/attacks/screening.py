"""Screening: nearly the verdicts of AutoAttack for a fraction of its passes, to choose among networks with.

An image that it breaks has an adversarial image in the ball. One that it leaves may still fall to AutoAttack. So it
errs on one side alone, and no metric takes it: no record has a score of it.

Numbers in the comments are the steps:

(1) Classify the clean images; those that are wrong are not attacked.
(2) Take the Jacobian of the logits at each image.
(3) Towards each other class t, or the nearest nine, take a few steps of APGD on Z_t − Z_y from the image, whose
    gradient is known. A class is as near as the zero of a linear function with this value and gradient:
    (Z_y − Z_t)/‖∇(Z_t − Z_y)‖ in the dual norm, at the image first and at the best point afterwards.
(4) Towards those of the nearest classes that came near, start whole runs of APGD at random points, on Z_t − Z_y and
    on the targeted DLR loss, which find different images. End them where the class stays far. Repeat this for
    classes that came very near.
(5) Attack the images that are left with the first queries of Square. Where it breaks one, gradients mislead: then
    it takes all queries of AutoAttack.

Sources: APGD, DLR and Square as in Croce & Hein 2020, Reliable evaluation of adversarial robustness. The order of
classes is that of Melamed et al. 2024, MALT Powers Up Adversarial Attacks, arXiv 2407.02240, section 3. What is
done with distances at best points is ours. `benchmarks.autoattack` compares the verdicts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.attacks import probabilities
from bench.attacks.autoattack_fast import spare_passes
from bench.attacks.autoattack_suite import (
    FirstWarnings,
    SuiteNetwork,
    left_out,
    make_suite,
    perturb,
    predicted_classes,
)
from bench.attacks.steps import normalized
from bench.core.checks import check_batch_size, check_finite, check_inputs, images_per_pass
from bench.core.classifier import AnyClassifier
from bench.core.errors import out_of_memory
from bench.core.gradients import input_gradient, input_gradients
from bench.core.guards import channels_last, evaluating, frozen, random_state_kept
from bench.core.passes import counting
from bench.core.randomness import make_generator
from bench.core.threat import Threat

#: Classes that are attacked, as many as AutoAttack does.
TARGETS = 9
#: Steps of APGD towards each of them, and of a whole run.
FEW, ALL = 10, 100
#: Rounds of whole runs: how near a class must have come, in ε, and how many classes of an image run at most.
ROUNDS = ((0.5, 3), (0.1, 2), (0.1, 2), (0.1, 2))
#: A whole run ends for points that are further than this when their step size is looked at.
FAR = 0.3
#: Queries of Square, and those of AutoAttack.
QUERIES, ALL_QUERIES = 150, 5000


@dataclass
class Screening:
    """What screening did to every image.

    Attributes:
        adversarial: [B, C, H, W]; the image itself where it was not broken.
        broken: bool [B]; misclassified within the threat, or without attack.
        step: int64 [B]; the step that broke each image, 1, 3, 4 or 5; 0 for survivors.
        forwards, backwards: passes through the network, in images.
    """

    adversarial: Tensor
    broken: Tensor
    step: Tensor
    forwards: int = 0
    backwards: int = 0


def screen(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    *,
    seed: int,
    batch_size: int = 500,
) -> Screening:
    """Attack every correctly classified image until something succeeds.

    Args:
        classifier: attacked in eval mode, and left exactly as it was found. One whose output is random is broken by
            luck as well.
        images: float32 [B, C, H, W] in [0, 1].
        labels: int64 [B].
        threat: norm and ε; every success is checked against it before it counts.
        seed: of every draw.
        batch_size: points attacked together; halved when memory runs out.

    Raises:
        UserError: for unusable images or labels, or a network that gives no finite logits [B, K].

    Warns:
        ProbabilitiesWarning: for a network that gives probabilities; their logarithm is attacked.
    """
    check_inputs(classifier, images, labels)
    check_batch_size(batch_size)
    log = FirstWarnings("screening")
    images = images.detach()
    with (
        evaluating(classifier),
        frozen(classifier),
        channels_last(classifier) as plain_layout,
        random_state_kept(seed),
        torch.no_grad(),
        counting(classifier) as passes,
    ):
        network = SuiteNetwork(classifier, log, plain_layout)
        network.at_once = images_per_pass(images, batch_size)
        suite = make_suite(network, classifier, threat, images.device, seed, "standard", log)
        spare_passes(suite)
        result = Screening(
            images.clone(), torch.zeros_like(labels, dtype=torch.bool), torch.zeros_like(labels)
        )
        run = _Run(
            suite, network, threat, images, labels, batch_size, make_generator("screening", seed), log, result
        )
        run.classify()
        if threat.radius > 0:
            for rows in run.surviving():
                run.attack(rows)
            if not left_out(["square"], classifier, threat):
                run.query()
    if "output" in log.first:
        probabilities.warn()
    result.forwards, result.backwards = passes.forwards, passes.backwards
    return result


def _margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Z_t − Z_y."""
    rows = torch.arange(len(logits), device=logits.device)
    return logits[rows, targets] - logits[rows, labels]


def _value(logits: Tensor, labels: Tensor, targets: Tensor, dlr: Tensor) -> Tensor:
    """What APGD maximizes: Z_t − Z_y, over Z_π1 − (Z_π3 + Z_π4)/2 where `dlr` (from four classes on)."""
    margin = _margin(logits, labels, targets)
    if logits.shape[1] < 4:
        return margin
    top = logits.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12
    return torch.where(dlr, margin / spread, margin)


@dataclass
class _Run:
    """One call of `screen`; the attributes are its parts."""

    suite: Any
    network: SuiteNetwork
    threat: Threat
    images: Tensor
    labels: Tensor
    batch_size: int
    generator: torch.Generator
    log: FirstWarnings
    result: Screening

    def surviving(self) -> list[Tensor]:
        """Positions of the images that are not broken yet, in batches."""
        left = (~self.result.broken).nonzero().squeeze(1)
        return list(left.split(self.batch_size)) if len(left) else []

    def mark(self, rows: Tensor, points: Tensor, logits: Tensor, step: int) -> None:
        """Note which of these points [P, C, H, W] of the images at `rows` are adversarial."""
        hit = predicted_classes(logits) != self.labels[rows]
        hit[hit.clone()] = self.threat.allows(points[hit], self.images[rows[hit]])
        self.result.adversarial[rows[hit]] = points[hit]
        self.result.broken[rows[hit]] = True
        self.result.step[rows[hit]] = step

    def classify(self) -> None:
        """(1) Mark the images that are wrong without attack."""
        for rows in torch.arange(len(self.images), device=self.images.device).split(self.batch_size):
            logits = self.network(self.images[rows])
            check_finite(logits)
            self.mark(rows, self.images[rows], logits, 1)

    def attack(self, rows: Tensor) -> None:
        """(2) to (4) for the images at these positions."""
        images, labels = self.images[rows], self.labels[rows]
        # (2) Jacobian.
        with torch.enable_grad():
            points = images.clone().requires_grad_()
            logits = self.network(points)
            gradients = torch.stack(list(input_gradients(logits, points)), dim=1)
        logits, every = logits.detach(), torch.arange(len(rows), device=rows.device)
        gradients = gradients - gradients[every, labels].unsqueeze(1)
        distance = torch.stack(
            [
                self.distance(_margin(logits, labels, torch.full_like(labels, t)), gradients[:, t])
                for t in range(logits.shape[1])
            ],
            dim=1,
        )
        distance[every, labels] = torch.inf
        # (3) A few steps towards the nearest class, then towards the others.
        order = distance.argsort(dim=1)[:, : min(TARGETS, logits.shape[1] - 1)]
        for targets in (order[:, :1], order[:, 1:]):
            for who, to in self.pairs(rows, targets, torch.ones_like(targets, dtype=torch.bool)):
                known = logits[who], gradients[who, to]
                at = self.points(rows[who], to, images[who])
                distance[who, to] = self.ascend(at, FEW, known)
        # (4) Whole runs.
        for limit, most in ROUNDS:
            reached, order = distance.topk(min(most, logits.shape[1] - 1), dim=1, largest=False)
            for who, to in self.pairs(rows, order, reached < limit):
                twice = rows[who].repeat(2)
                at = self.points(
                    twice, to.repeat(2), self.threat.random_start(self.images[twice], self.generator)
                )
                at.dlr[len(who) :] = True
                found = self.ascend(at, ALL).view(2, -1).amin(dim=0)
                distance[who, to] = distance[who, to].minimum(found)

    def points(self, rows: Tensor, targets: Tensor, start: Tensor) -> "_Points":
        """Points at the start of a run: positions of images [P], classes [P], and where they are [P, C, H, W]."""
        none = start.new_full((len(start),), -torch.inf)
        return _Points(
            rows=rows,
            targets=targets,
            dlr=torch.zeros_like(rows, dtype=torch.bool),
            points=start,
            before=start,
            length=start.new_full((len(start), 1, 1, 1), 2 * self.threat.radius),
            best=none,
            best_points=start,
            best_gradient=torch.zeros_like(start),
            previous=-none,
            rises=torch.zeros_like(none),
            last=-none,
            halved=torch.ones_like(rows, dtype=torch.bool),
        )

    def pairs(self, rows: Tensor, targets: Tensor, wanted: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of pairs: an image that is left, by its position in `rows`, and a wanted one of its targets."""
        who, column = (wanted & ~self.result.broken[rows].unsqueeze(1)).nonzero(as_tuple=True)
        for start in range(0, len(who), self.batch_size):
            some = who[start : start + self.batch_size]
            yield some, targets[some, column[start : start + self.batch_size]]

    def ascend(self, at: "_Points", steps: int, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """APGD on some points, in halves where memory runs out; marks what it breaks.

        Args:
            at: where it starts [P].
            steps: of the run.
            known: logits [P, K] and gradients [P, C, H, W] at the start.

        Returns:
            how near the targets were at the best points [P].
        """
        try:
            return self.apgd(at, steps, known)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or len(at.rows) == 1:
                raise
        self.log.warning(f"memory ran out for {len(at.rows)} points, they were attacked in halves")
        first = torch.arange(len(at.rows), device=at.rows.device) < len(at.rows) // 2
        halves = [(at.only(half), known and (known[0][half], known[1][half])) for half in (first, ~first)]
        return torch.cat([self.ascend(half, steps, its) for half, its in halves])

    def apgd(self, at: "_Points", steps: int, known: tuple[Tensor, Tensor] | None) -> Tensor:
        """As `ascend`, of points that fit in memory."""
        every = torch.arange(len(at.rows), device=at.rows.device)
        nearest = torch.full_like(at.best, torch.inf)
        window, since = max(int(0.22 * steps), 1), 0
        for step in range(steps + 1):
            if step or known is None:
                logits, values, gradient = self.pull(at)
                self.mark(at.rows, at.points, logits, 4 if known is None else 3)
            else:
                logits, gradient = known
                values = _value(logits, self.labels[at.rows], at.targets, at.dlr)
            at.take(values, gradient)
            stay = ~self.result.broken[at.rows]
            if since == window or step == steps:
                nearest[every] = near = self.distance(at.best, at.best_gradient)
                gradient = at.look(gradient, window)
                window, since = max(window - max(int(0.03 * steps), 1), int(0.06 * steps), 1), 0
                if known is None:
                    stay &= near < FAR
            if not bool(stay.all()):
                at, gradient, every = at.only(stay), gradient[stay], every[stay]
            if step == steps or not len(every):
                break
            since += 1
            at.move(gradient, self.images[at.rows], self.threat, 0.75 if step else 1.0)
        return nearest

    def pull(self, at: "_Points") -> tuple[Tensor, Tensor, Tensor]:
        """Logits, value and its gradient at the points."""
        with torch.enable_grad():
            points = at.points.detach().requires_grad_()
            logits = self.network(points)
            values = _value(logits, self.labels[at.rows], at.targets, at.dlr)
            gradient = input_gradient(values, points)
        return logits.detach(), values.detach(), gradient

    def distance(self, values: Tensor, gradients: Tensor) -> Tensor:
        """How far linear functions with these values [P] and gradients [P, C, H, W] are from zero, in ε: [P]."""
        flat = gradients.flatten(1)
        slope = flat.abs().sum(dim=1) if self.threat.norm == "linf" else flat.norm(dim=1)
        return -values / (self.threat.radius * slope).clamp_min(1e-30)

    def query(self) -> None:
        """(5) Square."""
        for queries in (QUERIES, ALL_QUERIES):
            self.suite.square.n_queries = queries
            before = int(self.result.broken.sum())
            for rows in self.surviving():
                found = perturb(self.suite, "square", self.images[rows], self.labels[rows], self.log)
                self.mark(rows, found, self.network(found), 5)
            if int(self.result.broken.sum()) == before:
                return


@dataclass
class _Points:
    """Points under APGD, [P, ...] each.

    Attributes:
        rows, targets: positions of their images, and the classes that are to be predicted.
        dlr: whether the value is that of DLR; see `_value`.
        points, before: iterates, now and a step ago.
        length: of the step.
        best, best_points, best_gradient: the largest value so far, where it was reached, and its gradient there.
        previous: the value a step ago.
        rises, last, halved: since the last look at the step size: steps that raised the value, the best value then,
            and whether the step size was halved then.
    """

    rows: Tensor
    targets: Tensor
    dlr: Tensor
    points: Tensor
    before: Tensor
    length: Tensor
    best: Tensor
    best_points: Tensor
    best_gradient: Tensor
    previous: Tensor
    rises: Tensor
    last: Tensor
    halved: Tensor

    def take(self, values: Tensor, gradient: Tensor) -> None:
        """Note what was found at the points."""
        better = values > self.best
        self.best = torch.where(better, values, self.best)
        self.best_points = _where(better, self.points, self.best_points)
        self.best_gradient = _where(better, gradient, self.best_gradient)
        self.rises = self.rises + (values > self.previous)
        self.previous = values

    def look(self, gradient: Tensor, window: int) -> Tensor:
        """Halve the step size of points that do not get on, and take them to their best ones; gradients there."""
        halve = (self.rises <= 0.75 * window) | (~self.halved & (self.last >= self.best))
        self.length = _where(halve, self.length / 2, self.length)
        self.points = _where(halve, self.best_points, self.points)
        self.rises, self.last, self.halved = torch.zeros_like(self.rises), self.best, halve
        return _where(halve, self.best_gradient, gradient)

    def move(self, gradient: Tensor, origin: Tensor, threat: Threat, share: float) -> None:
        """A step, of which `share` is along the gradient and the rest along the step before."""
        direction = gradient.sign() if threat.norm == "linf" else normalized(gradient)
        ahead = threat.project(self.points + self.length * direction, origin)
        step = share * (ahead - self.points) + (1 - share) * (self.points - self.before)
        self.before, self.points = self.points, threat.project(self.points + step, origin)

    def only(self, which: Tensor) -> "_Points":
        """Some of the points, bool [P]."""
        return _Points(**{name: part[which] for name, part in vars(self).items()})


def _where(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(which.view(-1, 1, 1, 1), one, other)

"""Sources of plug-ins that can be told where to fail: a defense, a metric, networks and a data set."""

#: What a plug-in can raise, as the source of a statement.
ERRORS = {
    "an error": "raise ValueError('two\\nlines')",
    "sys.exit()": "sys.exit()",
    "sys.exit(text)": "sys.exit('leaving')",
    "BaseException": "raise BaseException('base')",
    "an error that cannot be shown": "raise Mute",
    "EOFError": "raise EOFError",
    "OSError": "raise OSError(28, 'No space left on device')",
}
START = """
import sys
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import nn

class Mute(Exception):
    def __str__(self):
        raise RuntimeError

def fail(place):
    if place == {place!r}:
        {error}

fail("import")
"""
DEFENSE = """
from defenses import Defense, Objective
from defenses.space import Uniform

@dataclass(frozen=True, kw_only=True)
class Zoo(Defense):
    name: ClassVar[str] = "zoo"
    family: ClassVar[str] = "zoo"
    weight: Annotated[float, Uniform(0, 2)] = 1.0

    def __post_init__(self):
        fail("__init__")
        super().__post_init__()

    @classmethod
    def make(cls, values):
        fail("make")
        return super().make(values)

    @classmethod
    def space(cls):
        fail("space")
        return super().space()

    def hyperparameters(self):
        fail("hyperparameters")
        return super().hyperparameters()

    def forward_units(self):
        fail("forward_units")
        return 3.0

    def objective(self, training):
        fail("objective")
        return Loss(training)

class Loss(Objective):
    def loss(self, classifier, images, labels):
        fail("loss")
        return self.cross_entropy(classifier(images), labels)

    def epoch(self, number):
        fail("epoch")

    def report(self):
        fail("report")
        return {}

    def state_dict(self):
        fail("state_dict")
        return {}
"""
METRIC = """
from metrics import Metric

class Zoo(Metric):
    name = "zoo"

    def __init__(self):
        fail("__init__")

    def names(self):
        fail("names")
        return ("zoo",)

    def settings(self):
        fail("settings")
        return {}

    def check(self, classifier, image):
        fail("check")

    def measure(self, evaluation):
        fail("measure")
        return {"values": np.ones(3)}

    def reduce(self, arrays):
        fail("reduce")
        return {"zoo": self.score(0.5)}

    def curves(self, arrays):
        fail("curves")
        return {}

    def charts(self, arrays, record):
        fail("charts")
        return []
"""
NETWORK = """
from bench.models import Network, build

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())

    def forward(self, x):
        fail("forward")
        return self.layers(x)

def make():
    fail("function")
    return nn.Sequential(Body(), nn.Linear(16, 10))

def network(input_shape, num_classes):
    fail("function")
    return Network(Body(), nn.Linear(16, num_classes), torch.relu)
"""
DATA = """
from bench.data import RawData

def data(data_dir, download):
    fail("function")
    images, labels = torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 2
    return RawData(("a", "b"), images, labels, images, labels)
"""
PRINTS = "print('hello'); print('{', flush=True)\n"

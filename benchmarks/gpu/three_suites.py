"""What is left of a network under the papers' habit, under AutoAttack and under `standard`?"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from benchmarks.gpu.scene import Scene
from benchmarks.gpu.verdict import summary
from spikeproof.attacks import Linf
from spikeproof.data import DataSet
from spikeproof.evaluation import Protocol, evaluate, suite_named

IMAGES, TINY_IMAGES = 1000, 2
SUITES = ("habit", "autoattack", "standard")


def verdicts(name: str, model: nn.Module, data: DataSet, scene: Scene) -> Iterator[dict[str, Any]]:
    """A row for each suite: the first 1,000 test images at 8/255; a network that draws noise is asked four times."""
    images = TINY_IMAGES if scene.tiny else IMAGES
    for suite in ("quick",) if scene.tiny else SUITES:
        began = scene.clock.passed
        protocol = Protocol(threats=Linf(8 / 255), suite=suite_named(suite), images=images, draws=4)
        found = evaluate(model, protocol.part_of(data, scene.data_root), protocol, progress=scene.clock.check)
        about = {"network": name, "suite": suite, "images": images}
        yield about | {"seconds": scene.clock.passed - began} | summary(found)

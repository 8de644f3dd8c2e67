"""How long does certifying take, and how much of it are passes of the network? Digits, by 10,000 draws an image."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.scene import Scene
from spikeproof.certificates import GaussianSmoothing, certify
from spikeproof.certificates.voting import batch_for
from spikeproof.data import Digits
from spikeproof.snn import LIF, Network, ReLU, SmallCNN, attack_view

NETWORKS = {"SNN, 4 steps": {"neuron": LIF(), "steps": 4}, "ANN": {"neuron": ReLU(), "steps": 1}}
WARM = 2  # images before the clock starts: kernels are compiled with them


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """For each network and variant: seconds, passes a second, and those of the network alone in batches as large."""
    images, n = (2, 20) if scene.tiny else (100, 10_000)
    x, y = Digits().part("test").batch(range(images))
    for name, fields in NETWORKS.items():
        network = Network(architecture=SmallCNN(widths=(16, 32, 64)), **fields)
        model = network.build(Digits.shape, 10, mean=Digits.mean, std=Digits.std).to(scene.device).eval()
        for variant in ("I", "II") if fields["steps"] > 1 else ("I",):
            certificate = GaussianSmoothing(n=n, variant=variant)
            certify(model, (x[:WARM], y[:WARM]), certificate)
            started = time.perf_counter()
            found = certify(model, (x, y), certificate, progress=scene.clock.check)
            seconds = time.perf_counter() - started
            yield {
                "network": name,
                "variant": variant,
                "images": images,
                "n": n,
                "seconds": seconds,
                "passes_per_second": images * (n + certificate.first) / seconds,
                "network_alone": _passes_per_second(model, scene),
                "mean_radius": found.mean_radius(),  # of a network that was not trained
                "abstained": int(found.abstained().sum()),
            }


@torch.no_grad()
def _passes_per_second(model: nn.Module, scene: Scene) -> float:
    view, rows = attack_view(model), 20 if scene.tiny else batch_for(scene.device)
    x = torch.rand(rows, *Digits.shape, device=scene.device)
    view(x).sum().item()
    started, calls = time.perf_counter(), 2 if scene.tiny else 20
    for _ in range(calls):
        answer = view(x)
    answer.sum().item()
    return rows * calls / (time.perf_counter() - started)

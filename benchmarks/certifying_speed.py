"""How long does certifying take, beside the loop that one writes first? `python -m benchmarks.certifying_speed`.

In pairs, on the same network and images: RSC-I on digits, which is trained if it is not under `--folder`.

The naive loop is Cohen et al.'s: one image at a time, batches of 256 passes, noise added to the image, every time step
computed from the image on. It has the same weights, in our network and in snnTorch's.
"""

import argparse
import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.certificates import trained
from benchmarks.contestants import SnnTorch
from benchmarks.measure import alternate
from benchmarks.records import write_json
from spikeproof.attacks import L2, Threat
from spikeproof.certificates import GaussianSmoothing, certify
from spikeproof.data import Digits
from spikeproof.process import keep_freed_memory
from spikeproof.runs import Run, environment
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.weights import load_model
from spikeproof.snn import Direct, Encoder, view

PASSES = 256


@dataclass(frozen=True, kw_only=True)
class Repeated(Encoder):
    """The image, once a step: nothing is known to be constant in time."""

    normalised: ClassVar[bool] = True

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        return x.unsqueeze(0).repeat(steps, *[1] * x.ndim)


@torch.no_grad()
def naive(model: nn.Module, x: Tensor, sigma: float, first: int, n: int) -> list[Tensor]:
    """The votes of each image: of the first sample, and of the second."""
    found = []
    for image in x:
        for count in (first, n):
            votes = torch.zeros(10, dtype=torch.int64)
            for begin in range(0, count, PASSES):
                batch = image.repeat(min(PASSES, count - begin), 1, 1, 1)
                answer = model(batch + sigma * torch.randn_like(batch))
                votes += torch.bincount(answer.argmax(1), minlength=len(votes))
            found.append(votes)
    return found


def speed(run: Run, images: int, n: int, rounds: int) -> dict[str, Any]:
    """How many times longer the naive loop takes, of a run of RSC-I."""
    keep_freed_memory()
    model = load_model(run.path)
    certificate = GaussianSmoothing(sigma=model.encoder.sigma, n=n)
    x, y = Digits().part("test").batch(torch.arange(images))
    direct = view(model, encoder=Direct()).eval()
    peer = Peer(SnnTorch().attacked(copy.deepcopy(direct)), direct)  # it lays weights out in another way, in place
    at: Threat = L2(0.5 * certificate.sigma)
    calls = {
        "certify": lambda: certify(model, (x, y), certificate),
        "certify, --at": lambda: certify(model, (x, y), certificate, at=at),
        "naive, our network": lambda: naive(view(direct, encoder=Repeated()), x, certificate.sigma, 100, n),
        "naive, snnTorch": lambda: naive(peer, x, certificate.sigma, 100, n),
    }
    for call in calls.values():
        call()  # kernels are compiled
    times = alternate(calls, rounds, torch.device("cpu"))
    seconds = {name: sorted(took)[len(took) // 2] for name, took in times.seconds.items()}
    ratios = {
        f"{slow} / {fast}": asdict(times.ratio(slow, fast)) for slow in list(calls)[2:] for fast in list(calls)[:2]
    }
    return {"images": images, "n": n, "rounds": rounds, "at": str(at), "seconds": seconds, "ratios": ratios}


class Peer(nn.Module):
    """A peer's network of our weights, behind our normalisation."""

    def __init__(self, network: nn.Module, model: nn.Module) -> None:
        super().__init__()
        self.network, self.normalise = network, model.normalise

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.normalise(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="test images, from the first on")
    parser.add_argument("--n", type=int, default=10_000, help="draws")
    parser.add_argument("--rounds", type=int, default=5, help="pairs")
    parser.add_argument("--folder", type=Path, default=Path("runs/certificates"), help="for the run folder")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = trained("RSC-I", "digits", 0.25, options.folder / "digits")
    found = speed(run, options.images, options.n, options.rounds)
    Console(width=200).print_json(data=found)
    if options.out:
        write_json(options.out, found | {"environment": as_json(environment())})


if __name__ == "__main__":
    main()

"""Which images are certified, and how far? One certificate, image by image; stopped, it goes on where it was."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import Threat
from spikeproof.calling import check_network, device_of, is_stochastic
from spikeproof.certificates.certificate import Certificate, Finding, Prover
from spikeproof.certificates.certificates import Certificates, length_of
from spikeproof.certificates.recordings import Recordings
from spikeproof.certificates.voting import Voted
from spikeproof.choices import Choice, Count, Seed, UserError, short, whole_number
from spikeproof.configs import to_config
from spikeproof.data import DataSet, Images, PartName
from spikeproof.distributed import ALONE, Ranks
from spikeproof.evaluation.ledger import Kept, fingerprint
from spikeproof.evaluation.pools import pool_of
from spikeproof.evaluation.predictions import Pool, taken
from spikeproof.progress import Report, silent
from spikeproof.runs import Run
from spikeproof.runs.protocol_names import fingerprint_of
from spikeproof.snn import adapt

__all__ = ["certify"]

STATES = "certificates.partial*.npz"
EVERY = 10.0  # seconds between two times that what was found is kept
TYPES = {"prediction": np.int64, "radius": np.float64, "p": np.float64, "votes": np.int64, "draws": np.int64}
TYPES |= {"limit": np.float64}


@dataclass(frozen=True, kw_only=True)
class Certification(Choice):
    """All that two certifications must share if their numbers are compared. With `at`, images are given up that cannot
    be certified against it.
    """

    certificate: Certificate
    at: Threat | None = None
    part: PartName = "test"
    images: Count | None = None
    seed: Seed = 0

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(to_config(self))

    @property
    def sources(self) -> list[Path]:
        """The run folders of other networks that it depends on: none."""
        return []


def certify(
    model: nn.Module,
    data: DataSet | Images | tuple[Tensor, Tensor],
    certificate: Certificate,
    *,
    at: Threat | None = None,
    part: PartName = "test",
    images: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    state: Run | None = None,
    ranks: Ranks = ALONE,
    progress: Report = silent,
) -> Certificates:
    """The radius of each of the first `images` (None: all) of ``(x [N, C, H, W], y [N])``, or of a part of a data set.

    What is certified is the smoothed network: the class that most passes under the certificate's noise name. With `at`,
    a threat, an image is given up as soon as it cannot be certified against it: who is certified at `at` or beyond does
    not change. The draws of an image depend on `seed` and its number alone. `batch` passes are computed at once, which
    changes rounding and nothing else. With `state`, a run folder, what was found is kept there and the same call goes
    on. The images are dealt to `ranks`, and each returns all. Raises `UserError` for images that are not in [0, 1], for
    a network or a norm that the certificate says nothing about, and for a size of `at` that no image can reach.
    """
    done = Certification(certificate=certificate, at=at, part=part, images=images, seed=seed)
    model, pool = usable(model), pool_of(data, part, images)
    print_ = fingerprint(model, pool, done, None, ranks) if state or ranks.size > 1 else ""
    return certify_pool(model, pool, done, batch, None if state is None else Kept(state, print_), progress, ranks)


def usable(model: nn.Module) -> nn.Module:
    """The network, adapted; raises `UserError` for what is none."""
    if not isinstance(model, nn.Module):
        raise UserError(f"a model is a torch.nn.Module, not {model!r}; load_model reads that of a run folder")
    model = adapt(model)
    check_network(model)
    return model


def certify_pool(
    model: nn.Module,
    pool: Pool,
    done: Certification,
    batch: int | None,
    kept: Kept | None,
    progress: Report,
    ranks: Ranks = ALONE,
) -> Certificates:
    """`certify` on images that are chosen already, with a network that is adapted."""
    if not len(pool):
        raise UserError("there are no images: nothing can be certified")
    certificate = done.certificate
    model, pool = certificate.about(model, pool)
    pixels = _shown(model, pool, torch.arange(1)).numel()
    least = length_of(done.at, certificate, pixels) if done.at else 0.0
    if batch is not None:
        whole_number("batch", batch, 1)
    prover = certificate.prover(model, seed=done.seed, batch=batch, least=least)
    if least:
        _refuse_beyond(done, model, pool, prover, least)
    found = Findings(len(pool), kept, ranks)
    for index in found.waiting():
        found.note(int(index), prover(_shown(model, pool, index), int(index)))
        progress(f"image {int(index) + 1}", *found.count())
    return Certificates(
        certificate=certificate,
        least=least,
        pixels=pixels,
        own=not certificate.votes or is_stochastic(model) is True,
        label=pool.labels.cpu().numpy(),
        **found.all(),
    )


def _shown(model: nn.Module, pool: Pool, index: Tensor) -> Tensor:
    """The image, the frames ``[T, P, H, W]`` or raw events ``[N, 4]`` of this number, on the model's device."""
    if isinstance(pool, Recordings):
        return pool.batch(index)[0][0].to(device_of(model))
    return taken(model, pool, index)[0][0]


def _refuse_beyond(done: Certification, model: nn.Module, pool: Pool, prover: Prover, least: float) -> None:
    """Raise `UserError` where no image can be certified as far as is asked."""
    largest = max(prover.largest(_shown(model, pool, index)) for index in torch.arange(len(pool)).split(1))
    if largest >= least:
        return
    asked = done.certificate
    more = f": with n {asked.n}" if isinstance(asked, Voted) else ""
    raise UserError(
        f"no image can be certified against {done.at}, which takes a radius of {least:.4g} in {asked.threat.norm}"
        f"{more} {short(asked)} reaches {largest:.4g} at most: ask for less, take more draws, or more noise"
    )


class Findings:
    """What was found so far, on disk from time to time where there is a run folder; each rank has images of its own."""

    def __init__(self, count: int, kept: Kept | None, ranks: Ranks) -> None:
        self.rows = {name: np.zeros(count, dtype=kind) for name, kind in TYPES.items()}
        self.done = np.zeros(count, dtype=bool)
        self.kept, self.ranks, self.written = kept, ranks, time.monotonic()
        if kept is not None:
            for file in sorted(kept.folder.path.glob(STATES)):
                found = kept.folder.read_arrays(file.name)
                if str(found.get("settings")) == kept.fingerprint and self._is_alike(found):
                    self._take(found)
        for theirs in ranks.gather(self._all_rows()):  # who may see other disks
            self._take(theirs)

    def waiting(self) -> list[Tensor]:
        """The numbers of this rank's images, one by one."""
        self.mine = self.ranks.dealt(torch.from_numpy(np.flatnonzero(~self.done)), 1)
        self.left = len(self.mine)
        return self.mine

    def note(self, index: int, found: Finding) -> None:
        for name, rows in self.rows.items():
            rows[index] = getattr(found, name)
        self.done[index] = True
        self.left -= 1
        if self.kept is not None and (time.monotonic() > self.written + EVERY or not self.left):
            rank = f"-{self.ranks.rank}" if self.ranks.size > 1 else ""
            kept = self._all_rows() | {"settings": np.array(self.kept.fingerprint)}
            self.kept.folder.write_arrays(STATES.replace("*", rank), kept)
            self.written = time.monotonic()

    def count(self) -> tuple[float, float]:
        """Images done, and how many there are."""
        return len(self.done) - self.left * self.ranks.size, len(self.done)

    def all(self) -> dict[str, np.ndarray]:
        """What all ranks have found."""
        for theirs in self.ranks.gather(self._all_rows()):
            self._take(theirs)
        return self.rows

    def _all_rows(self) -> dict[str, np.ndarray]:
        return self.rows | {"done": self.done}

    def _is_alike(self, found: dict[str, np.ndarray]) -> bool:
        return all(
            name in found and found[name].shape == rows.shape and found[name].dtype == rows.dtype
            for name, rows in self._all_rows().items()
        )

    def _take(self, found: dict[str, np.ndarray]) -> None:
        newer = found["done"] & ~self.done
        for name, rows in self._all_rows().items():
            rows[newer] = found[name][newer]

"""Which network, on which images, does a measurement of a finished run look at?"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from spikeproof.data import DataSet, Images, PartName
from spikeproof.models import load_model
from spikeproof.runs import Run
from spikeproof.snn import adapt
from spikeproof.specs import UserError, from_config


class Opened(NamedTuple):
    """The network of a run on its device, the chosen images, and the data set that they are a part of."""

    model: nn.Module
    images: Images
    data: DataSet


def opened(
    run: Run,
    then: str,
    *,
    images: int | None,
    part: PartName,
    batch: int,
    data_root: str | Path | None,
    device: str | torch.device | None,
    trust: bool,
) -> Opened:
    """The network of `run`, and the first `images` of `part` (None: all) of the data that it was trained on.

    `then` is the command that asks. Raises `UserError` for a run whose training has not finished, for what `load_model`
    refuses, and for an impossible number of images.
    """
    if batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")
    if not run.record["finished"]:
        raise UserError(f"the training of {run.path} has not finished: start its command again, then {then}")
    model = adapt(load_model(run.path, trust=trust)).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    data: DataSet = from_config(run.record["config"]["data"], DataSet, trust=trust)
    everything = data.part(part, data_root)
    if images is not None and not 1 <= images <= len(everything):
        raise UserError(f"the {part} part has {len(everything)} images: take 1 to {len(everything)}, not {images}")
    return Opened(model, everything if images is None else everything.first(images), data)

"""Which network, and which data, does a measurement of a finished run look at?"""

from typing import NamedTuple

import torch
from torch import nn

from spikeproof.choices import UserError
from spikeproof.configs import from_config
from spikeproof.data import DataSet
from spikeproof.distributed import ALONE, Ranks
from spikeproof.runs import Run
from spikeproof.runs.records import RunRecord
from spikeproof.runs.weights import load_model
from spikeproof.snn import adapt


class Opened(NamedTuple):
    """The network of a run on its device, and the data set that it was trained on."""

    model: nn.Module
    data: DataSet


def opened(run: Run, then: str, *, device: str | torch.device | None, trust: bool, ranks: Ranks = ALONE) -> Opened:
    """The network of `run` and its data; `then` is the command that asks.

    Raises `UserError` for a run whose training has not finished, for a device that is not here, and for what
    `load_model` refuses.
    """
    at = ranks.device_of(device)
    if not run.record.finished:
        raise UserError(f"the training of {run.path} has not finished: start its command again, then {then}")
    if "data" not in run.record.config:
        raise run.unexpected(RunRecord.FILE, KeyError("config.data"))
    model = adapt(load_model(run.path, trust=trust)).to(at)
    return Opened(model, from_config(run.record.config["data"], DataSet, trust=trust))

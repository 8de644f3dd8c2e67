"""How is a network kept in a run folder, and built again from it? ``model.safetensors`` and ``model.json``."""

from pathlib import Path
from typing import Any

import torch

from spikeproof.runs import Run
from spikeproof.snn import Network, SpikingNetwork
from spikeproof.specs import UserError, from_config, to_config

__all__ = ["load_model", "write_model"]


def write_model(
    run: Run,
    tensors: dict[str, torch.Tensor],
    network: Network,
    shape: tuple[int, int, int],
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    """Weights `tensors`, and the arguments of `Network.build` that make the network they belong to."""
    how: dict[str, Any] = {"network": to_config(network), "shape": list(shape), "classes": classes}
    run.write_json("model.json", how | {"mean": list(mean), "std": list(std)})
    run.write_tensors("model.safetensors", tensors, {"format": "spikeproof 1"})


def load_model(path: str | Path, *, trust: bool = False) -> SpikingNetwork:
    """The trained network of the run folder `path`, in eval mode, on the CPU.

    Raises `UserError` for a missing or damaged file, weights that do not fit, and, unless `trust` is set, for a
    ``model.json`` that names code from outside spikeproof.
    """
    run = Run(Path(path))
    how = run.read_json("model.json")
    tensors, _ = run.read_tensors("model.safetensors")
    try:
        network: Network = from_config(how["network"], Network, trust=trust)
        model = network.build(tuple(how["shape"]), how["classes"], mean=tuple(how["mean"]), std=tuple(how["std"]))
        model.load_state_dict(tensors)
    except UserError as error:
        raise UserError(f"{run.path / 'model.json'}: {error}") from error
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{run.path}: model.json and model.safetensors do not fit together ({error})") from error
    return model.eval()

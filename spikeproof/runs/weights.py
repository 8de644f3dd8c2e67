"""How is a network kept in a run folder, and built again from it? ``model.safetensors`` and ``model.json``."""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.exchange import Simulation, import_nir
from spikeproof.runs import Run
from spikeproof.runs.digests import digest_of_json
from spikeproof.runs.foreign import built_by, needs_trust
from spikeproof.runs.records import BuiltRecord, FactoryRecord, GraphRecord, RunRecord
from spikeproof.runs.ties import CONFIG, MODEL, refuse_untied
from spikeproof.snn import Network, adapt
from spikeproof.snn.wrappers import unwrapped
from spikeproof.untrusted.archives import refuse_damaged_zip
from spikeproof.untrusted.texts import Unreadable
from spikeproof.untrusted.words import brief
from spikeproof.whole_files import sha256_of

__all__ = ["load_model", "write_model"]

GRAPH = "graph.nir"  # of a network that came as one
Description = BuiltRecord | FactoryRecord | GraphRecord

WRAPPED = r"\b_(orig_mod|checkpoint_wrapped_module|fsdp_wrapped_module)\."  # in names, wherever a part was wrapped
AVERAGED = "n_averaged"  # beside the weights of an AveragedModel: of how many it is the mean


def write_model(
    run: Run,
    tensors: dict[str, torch.Tensor],
    network: Network,
    shape: tuple[int, ...],
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    """Weights `tensors`, and the arguments of `Network.build` that make the network they belong to."""
    _write(run, tensors, BuiltRecord(network=to_config(network), shape=shape, classes=classes, mean=mean, std=std))


def write_foreign(run: Run, model: nn.Module, how: FactoryRecord | GraphRecord) -> None:
    """The weights of a network from elsewhere, and the function that builds it, or how its graph is run."""
    _write(run, tensors_of(model), how)


def _write(run: Run, tensors: dict[str, Tensor], how: Description) -> None:
    """The weights state of which ``model.json`` and of which choices they are: `refuse_untied` compares it."""
    run.path.mkdir(parents=True, exist_ok=True)  # weights may be kept without a run
    run.write(how)
    facts = {"format": "spikeproof 2", MODEL: digest_of_json(run.read_json(how.FILE))}
    if RunRecord.FILE in run:
        facts[CONFIG] = digest_of_json(run.record.config)
    run.write_tensors("model.safetensors", tensors, facts)


def load_model(path: str | Path, *, trust: bool = False) -> nn.Module:
    """The network of the run folder `path`, in eval mode, on the CPU; one from elsewhere is adapted.

    Raises `UserError` for a missing or damaged file, for weights that do not fit or were written with another
    ``model.json`` or ``run.json``, and, unless `trust` is set, for code from outside spikeproof.
    """
    run = Run(Path(path))
    how = _described(run)
    tensors, _ = run.read_tensors("model.safetensors")
    refuse_untied(run)
    if isinstance(how, FactoryRecord):
        return _foreign(run, how, tensors, trust)
    if isinstance(how, GraphRecord):
        return _of_graph(run, how, tensors, trust)
    try:
        network: Network = from_config(how.network, Network, trust=trust)
        model = network.build(how.shape, how.classes, mean=how.mean, std=how.std)
        _refuse_other_types(model, tensors)
        model.load_state_dict(tensors)
    except UserError as error:
        raise UserError(f"{run.path / 'model.json'}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        said = brief(" ".join(str(error).split()))
        raise UserError(f"{run.path}: model.json and model.safetensors do not fit together ({said})") from error
    return model.eval()


def refuse_untrusted(run: Run) -> None:
    """Raise `UserError` if the network of `run`, or a part of it, is code from outside spikeproof. None is run."""
    how = _described(run)
    if isinstance(how, FactoryRecord):
        raise needs_trust(run.path, how.factory)
    if isinstance(how, GraphRecord):
        from_config(how.simulation, Simulation)
    else:
        from_config(how.network, Network)


def _described(run: Run) -> Description:
    """What ``model.json`` says: how the network is built, which function builds it, or how its graph is run."""
    described = run.read_json("model.json")
    said = described if isinstance(described, dict) else {}
    if "graph_sha256" in said:
        return run.read(GraphRecord)
    return run.read(FactoryRecord) if "factory" in said else run.read(BuiltRecord)


def load_pair(weights: Path, description: Path) -> nn.Module:
    """The network of a file of weights and of the ``model.json`` that describes it, wherever the two lie."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        for source, name in ((weights, "model.safetensors"), (description, "model.json")):
            if not source.is_file():
                raise UserError(f"there is no file {source}: weights and their model.json belong together")
            shutil.copyfile(source, run / name)
        return load_model(run)


def _foreign(run: Run, how: FactoryRecord, tensors: dict[str, Tensor], trust: bool) -> nn.Module:
    if not trust:
        raise needs_trust(run.path, how.factory)
    model = built_by(how.factory)
    load_tensors(model, tensors, str(run.path / "model.safetensors"))
    try:
        return adapt(model, mean=how.mean, std=how.std, reduce=how.reduce).eval()  # type: ignore[arg-type]
    except UserError as error:
        raise UserError(f"{run.path / how.FILE}: {error}") from error


def _of_graph(run: Run, how: GraphRecord, tensors: dict[str, Tensor], trust: bool) -> nn.Module:
    file = run.path / GRAPH
    if not file.is_file() or sha256_of(file) != how.graph_sha256:
        raise UserError(f"{file} is missing, or is not the graph of these weights: put it back, or evaluate it again")
    simulation: Simulation = from_config(how.simulation, Simulation, trust=trust)
    model = import_nir(file, simulation, shape=how.shape, mean=how.mean, std=how.std)
    load_tensors(model, tensors, str(run.path / "model.safetensors"))
    return model


def _refuse_other_types(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copying would turn whole numbers into others without a word."""
    wanted = model.state_dict()
    for name, tensor in tensors.items():
        if name in wanted and wanted[name].dtype != tensor.dtype:
            raise TypeError(f"{name} is {tensor.dtype}, and the network's is {wanted[name].dtype}")


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of its state dict, which may hold other things."""
    return {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)}


def load_tensors(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Put `tensors` into `model`, whatever wrappers left in the names of either.

    Raises `UserError` that names what is missing, left over, or of another shape or kind of number.
    """
    model = unwrapped(model)
    wanted = model.state_dict()
    own = dict(zip(plain_names(wanted, source), wanted, strict=True))
    tensors = dict(zip(plain_names(tensors, source), tensors.values(), strict=True))
    missing = [name for name in own if isinstance(wanted[own[name]], Tensor) and name not in tensors]
    left = [name for name in tensors if name not in own]
    if missing or left:
        said = [f"does not hold {_few(missing)}, which the network has"] if missing else []
        said += [f"holds {_few(left)}, which the network has not"] if left else []
        raise UserError(f"{source} {', and '.join(said)}")
    for name, tensor in tensors.items():
        _refuse_another_kind(name, tensor, wanted[own[name]], source)
    try:
        model.load_state_dict({own[name]: tensor for name, tensor in tensors.items()}, strict=False)
    except RuntimeError as error:  # it lists the shapes
        raise UserError(f"{source} does not fit the network: {error}") from error


def _refuse_another_kind(name: str, tensor: Tensor, wanted: Any, source: str) -> None:
    """Whole numbers and complex ones would be taken for real ones, silently."""
    if isinstance(wanted, Tensor) and _kind_of(tensor) != _kind_of(wanted):
        raise UserError(f"{source}: {name} holds {tensor.dtype}, and the network has {wanted.dtype} there")


def _kind_of(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def plain_names(names: Iterable[Any], source: str) -> list[str]:
    """The names of tensors without what `torch.compile`, `DataParallel` and their like put into them.

    Raises `UserError` for what is no name, and for two that are then the same.
    """
    found = []
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"{source}: names of tensors are texts, not {name!r}: save model.state_dict()")
        found.append(re.sub(WRAPPED, "", name))
    while found and all(name.startswith("module.") for name in found):
        found = [name.removeprefix("module.") for name in found]
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise UserError(f"{source} holds {twice} twice, under names of a wrapper: save model.state_dict()")
    return found


def _few(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, safetensors or what torch.save wrote, read without running any code.

    It may lie under "state_dict", "model" or "net", and its names may be those of a wrapper (`plain_names`). Raises
    `UserError` for a missing or damaged file, and for one that holds more than weights.
    """
    if not path.is_file():
        raise UserError(f"there is no weights file {path}")
    try:
        if path.suffix != ".safetensors" and zipfile.is_zipfile(path):
            refuse_damaged_zip(path)  # torch does not look at the checksums
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Unreadable as error:
        raise UserError(f"{path} {error}; copy it anew, or save model.state_dict() again") from error
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as weights: {brief(' '.join(str(error).split()))}") from error
    except Exception as error:  # pickle raises its own kinds
        raise UserError(f"{path} holds more than weights, and is not read: save model.state_dict() alone") from error
    if isinstance(found, dict):
        found = next((found[key] for key in ("state_dict", "model", "net") if isinstance(found.get(key), dict)), found)
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{path} holds no state dict, a mapping from names to tensors: save model.state_dict()")
    if any(str(name).startswith("module.") for name in found):
        found = {name: tensor for name, tensor in found.items() if name != AVERAGED}
    return dict(zip(plain_names(found, str(path)), found.values(), strict=True))

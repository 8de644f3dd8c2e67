"""How does a network begin with weights from a file that spikeproof did not write?"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spikeproof.choices import Advice, Choice, UserError
from spikeproof.runs import sha256_of
from spikeproof.runs.weights import read_weights
from spikeproof.untrusted.texts import Unreadable, text_of

OWN = ("normalise.", "num_batches_tracked")  # what the recipe's data decide, and what no prediction depends on


@dataclass(frozen=True, kw_only=True)
class Weights(Choice):
    """Weights in `file`: safetensors, or a state dict that torch.save wrote (read without running any code).

    `keys` is a YAML file that maps names of the network here to names in `file`, ``body.0.0.weight: conv1.weight``
    for example; names that it leaves out are the same in both. Every weight must be found and have the right shape.
    """

    file: str
    keys: str | None = None

    def digest(self) -> str | None:
        """What the file holds, in short; None where it is gone."""
        return sha256_of(Path(self.file)) if Path(self.file).is_file() else None

    def load_into(self, model: nn.Module) -> None:
        """Copy them into `model`; raises `UserError` that names what is missing, left over or of another shape."""
        theirs, named = read_weights(Path(self.file)), _key_map(self.keys)
        wanted = {name: t for name, t in model.state_dict().items() if not _is_own(name)}
        pairs = {name: named.get(name, name) for name in wanted}
        if unknown := sorted(named.keys() - wanted.keys()):
            raise UserError(f"{self.keys} names {unknown[0]!r}, which the network has not; it has {', '.join(wanted)}")
        missing = [ours for ours, name in pairs.items() if name not in theirs]
        left = [name for name in theirs if name not in pairs.values() and not _is_own(name)]
        if missing or left:
            raise _mismatch(self.file, wanted, theirs, missing, left)
        for ours, name in pairs.items():
            if theirs[name].shape != wanted[ours].shape:
                raise UserError(
                    f"{self.file}: {name} has the shape {list(theirs[name].shape)}, and {ours}, which it is to be, "
                    f"{list(wanted[ours].shape)}"
                )
            if not theirs[name].isfinite().all():
                raise UserError(f"{self.file}: {name} holds NaN or infinite numbers")
        with torch.no_grad():
            for ours, name in pairs.items():
                wanted[ours].copy_(theirs[name])


def _key_map(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    from spikeproof.untrusted.settings import MOST, yaml_in

    try:
        found = yaml_in(text_of(Path(path), MOST))
    except (OSError, Unreadable) as error:
        raise UserError(f"{path} cannot be read as a key map: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(w, str) for pair in found.items() for w in pair):
        raise UserError(f"{path} is no key map: write one line for each name, such as body.0.0.weight: conv1.weight")
    return found


def _mismatch(
    file: str, wanted: dict[str, Tensor], theirs: dict[str, Tensor], missing: list[str], left: list[str]
) -> UserError:
    """What does not fit; and, where shapes agree in their order, the key map that would do."""
    said = f"{file} does not hold {', '.join(missing) or 'too little'}"
    said += f", and holds {', '.join(left)} beside" if left else ""
    others = {name: theirs[name] for name in _in_order(theirs, file) if not _is_own(name)}
    if [t.shape for t in wanted.values()] == [t.shape for t in others.values()]:
        lines = (f"  {ours}: {name}" for ours, name in zip(wanted, others, strict=True) if ours != name)
        said += "\nIn their order the shapes agree; if they are meant so, this key map (option keys) fits:\n"
        return Advice(said + "\n".join(lines))
    return UserError(said + "; map the names with keys, and choose the architecture that the weights are of")


def _in_order(names: Iterable[str], file: str) -> list[str]:
    """As a state dict has them; safetensors keeps names sorted by letter, bias before weight and 10 before 2."""
    if not file.endswith(".safetensors"):
        return list(names)

    def place(name: str) -> tuple[list[tuple[int, str]], int]:
        module, _, tensor = name.rpartition(".")
        known = ("weight", "bias", "running_mean", "running_var")
        parts = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)|\.", module) if part]
        return parts, known.index(tensor) if tensor in known else len(known)

    return sorted(names, key=place)


def _is_own(name: str) -> bool:
    return name.startswith(OWN[0]) or name.endswith(OWN[1])

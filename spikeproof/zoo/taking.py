"""How does a network of a zoo become one that runs, or a run folder? Each file is checked before any is written."""

import tempfile
from pathlib import Path

from torch import nn

from spikeproof.choices import UserError
from spikeproof.runs import Run, written_whole
from spikeproof.runs.ties import WEIGHTS
from spikeproof.runs.weights import load_model
from spikeproof.untrusted.words import told
from spikeproof.zoo.cards import Card
from spikeproof.zoo.indexes import address_of, file_at, files_of, read_index

NEEDED = ("run.json", "model.json", WEIGHTS)


def load(name: str, *, index: str | Path | None = None, sha256: str | None = None, trust: bool = False) -> nn.Module:
    """The network `name` of a zoo, in eval mode, on the CPU: images ``[B, C, H, W]`` in [0, 1] to logits ``[B, K]``.

    `index` and `sha256` are as in `cards`. Raises `UserError` for a name that the index has not, with the nearest one,
    for files that are larger than it says or of another digest, and for what `load_model` refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        return load_model(taken(name, Path(folder) / name, index=index, sha256=sha256, only=NEEDED).path, trust=trust)


def taken(
    name: str,
    out: Path,
    *,
    index: str | Path | None = None,
    sha256: str | None = None,
    only: tuple[str, ...] = (),
) -> Run:
    """The run folder `out` of a network of a zoo, with its verdicts, or with the files `only`.

    One that holds the same weights is left as it is. Raises what `load` raises, and `UserError` for another run there.
    """
    found, address = files_of(name, read_index(index, sha256)), address_of(index)
    if out.exists():
        return _same(name, out, file_at(address, name, WEIGHTS, found[WEIGHTS]))
    wanted = {file: listed for file, listed in found.items() if not only or file in only}
    contents = {file: file_at(address, name, file, listed) for file, listed in wanted.items()}
    for file, content in sorted(contents.items(), key=lambda item: item[0] == "run.json"):  # it comes last
        if file != Card.FILE:
            with written_whole(out / file) as temporary:
                temporary.write_bytes(content)
    return Run(out)


def _same(name: str, out: Path, weights: bytes) -> Run:
    file = out / WEIGHTS
    if (out / "run.json").is_file() and file.is_file() and file.read_bytes() == weights:
        return Run(out)
    raise UserError(f"{out} is there, and is not the network {told(name)}: name another folder, or delete it")

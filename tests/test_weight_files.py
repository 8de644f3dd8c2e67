"""Are weights found under the names that wrappers give them, and refused where they would be cast?"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from spikeproof.choices import UserError
from spikeproof.runs.weights import load_tensors, read_weights
from spikeproof.snn.wrappers import unwrapped


def parallel(model: nn.Module) -> nn.Module:
    """In `DataParallel` on the CPU, whatever devices are pretended."""
    with patch("torch.nn.parallel.data_parallel._get_available_device_type", return_value=None):
        return nn.DataParallel(model)


def network() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), nn.Linear(3, 2))


def inside(model: nn.Module) -> nn.Module:
    model[0] = torch.compile(model[0], backend="eager")  # type: ignore[index, operator]
    return model


WRAPPERS: list[Callable[[nn.Module], nn.Module]] = [
    lambda model: model,
    partial(torch.compile, backend="eager"),
    parallel,
    AveragedModel,
    inside,
    lambda model: torch.compile(parallel(inside(model)), backend="eager"),
    lambda model: AveragedModel(torch.compile(parallel(model), backend="eager")),
]


@pytest.mark.parametrize("kept", WRAPPERS)
@pytest.mark.parametrize("loaded", WRAPPERS)
def test_weights_of_any_wrapper_load_into_any_other(
    kept: Callable[[nn.Module], nn.Module], loaded: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    plain, file = network(), tmp_path / "weights.pt"
    expected = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    torch.save(kept(plain).state_dict(), file)
    other = network()
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.zero_()
    tensors = read_weights(file)
    assert set(tensors) == set(expected)
    wrapped = loaded(other)
    load_tensors(wrapped, tensors, str(file))
    values = list(unwrapped(wrapped).state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(values, expected.values(), strict=True))


def changed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    return {**network().state_dict(), name: tensor}


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("1.weight", torch.ones(2, 3, dtype=torch.int64), r"1\.weight holds torch\.int64, and the network has torch"),
        ("1.weight", torch.ones(2, 3, dtype=torch.bool), r"torch\.bool"),
        ("1.bias", torch.ones(2, dtype=torch.complex64), r"1\.bias holds torch\.complex64"),
        ("0.1.num_batches_tracked", torch.tensor(0.5), r"num_batches_tracked holds torch\.float32"),
        ("1.weight", torch.ones(3, 2), "does not fit the network"),
    ],
)
def test_weights_of_another_kind_are_refused_and_none_is_loaded(name: str, tensor: Tensor, said: str) -> None:
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=said):
        load_tensors(model, changed(name, tensor), "weights.pt")
    if "fit" not in said:
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_load(dtype: torch.dtype) -> None:
    model = network()
    load_tensors(
        model, {name: t.to(dtype) if t.is_floating_point() else t for name, t in model.state_dict().items()}, ""
    )


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({0: torch.ones(2), 1: torch.ones(2)}, "names of tensors are texts, not 0"),
        ({("a", 1): torch.ones(2)}, "names of tensors are texts"),
        ({"a.weight": torch.ones(2), "a._orig_mod.weight": torch.ones(2)}, r"holds a\.weight twice"),
    ],
)
def test_names_that_are_none_are_refused(kept: dict[object, Tensor], said: str, tmp_path: Path) -> None:
    torch.save(kept, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=said):
        read_weights(tmp_path / "weights.pt")

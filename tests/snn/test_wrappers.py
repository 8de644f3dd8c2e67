"""Is a network in a wrapper viewed and evaluated as the network itself, and left as it was; and is a graph refused?"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MethodType
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from spikeproof.attacks import PGD, Along, Linf
from spikeproof.choices import UserError
from spikeproof.evaluation import Protocol, Suite, evaluate
from spikeproof.evaluation.verdicts import Verdicts
from spikeproof.snn import MLP, ATan, Network, SmallCNN, SpikingNetwork, Triangle, adapt, ann_twin, attack_view, view
from spikeproof.snn import without_statistics as frozen

SHAPE = (1, 6, 6)
SUITE = Suite(name="two", attacks=(PGD(steps=3), Along(attack=PGD(steps=3), paths=(ATan(),))))


def parallel(model: nn.Module) -> nn.Module:
    """In `DataParallel` on the CPU, whatever devices are pretended."""
    with patch("torch.nn.parallel.data_parallel._get_available_device_type", return_value=None):
        return nn.DataParallel(model)


def convolutional() -> SpikingNetwork:
    model = Network(architecture=SmallCNN(widths=(4, 4, 4)), steps=2).build(SHAPE, 3).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(4.0)
    return model


def plain() -> SpikingNetwork:
    return Network(architecture=MLP(hidden=(8,), norm=False), steps=2).build(SHAPE, 3).eval()


def images() -> tuple[Tensor, Tensor]:
    return torch.rand(6, *SHAPE), torch.arange(6) % 3


def evaluated(model: nn.Module) -> Verdicts:
    torch.manual_seed(0)
    return evaluate(model, images(), Protocol(threats=Linf(0.2), suite=SUITE), batch=6)


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def replaced_by_a_method(model: nn.Module) -> nn.Module:
    model.forward = MethodType(type(model).forward, model)  # type: ignore[method-assign]
    return model


def compiled_forward(model: nn.Module) -> nn.Module:
    model.forward = torch.compile(model.forward, backend="eager")  # type: ignore[method-assign]
    return model


WRAPPERS: list[Callable[[nn.Module], nn.Module]] = [
    lambda model: torch.compile(model, backend="eager"),
    lambda model: torch.compile(parallel(model), backend="eager"),
    parallel,
    AveragedModel,
    in_place,
    replaced_by_a_method,
    compiled_forward,
]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, while it traces
def test_a_wrapped_network_is_evaluated_as_itself_and_stays_whole(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model, (x, _) = convolutional(), images()
    expected, before = evaluated(model), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules, answers = [id(module) for module in model.modules()], model(x)
    found = evaluated(wrap(model))
    assert found.broken_at.tolist() == expected.broken_at.tolist()
    assert found.gradients.tolist() == expected.gradients.tolist()
    assert [id(module) for module in model.modules()] == modules
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model(x), answers)


def test_a_distributed_network_is_evaluated_as_itself(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        model = convolutional()
        shared = nn.parallel.DistributedDataParallel(model)
        assert adapt(shared) is model
        assert isinstance(view(shared, gradient=ATan()), SpikingNetwork)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_view_of_a_wrapped_network_follows_its_own_path(wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Not that of the network: a compiled call that is kept on the object would answer in its place."""
    x = torch.rand(4, *SHAPE)
    slopes = []
    for model in (convolutional(), wrap(convolutional())):
        z = x.clone().requires_grad_()
        view(model, gradient=Triangle(width=0.5))(z)[:, 0].sum().backward()
        slopes.append(z.grad)
    assert torch.equal(*slopes)


@pytest.mark.parametrize("wrap", [partial(torch.compile, backend="eager"), parallel])
def test_a_part_that_is_wrapped_is_seen_through(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model, x = plain(), torch.rand(4, *SHAPE)
    expected = view(model, gradient=ATan())(x)
    model.body = wrap(model.body)
    for seen in (view(model, gradient=ATan()), attack_view(model), frozen(model)):
        assert not any("_orig_mod" in name or name.endswith("module") for name, _ in seen.named_modules())
        assert torch.equal(seen(x), expected)
    assert torch.equal(ann_twin(model)(x), ann_twin(plain())(x))


PARAMETRIZED: list[Callable[[nn.Module], object]] = [
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    parametrizations.orthogonal,
    nn.utils.spectral_norm,
]


@pytest.mark.parametrize("parametrize", PARAMETRIZED)
@pytest.mark.parametrize("build", [convolutional, plain])
def test_views_of_a_parametrized_network_answer_as_it_does(
    parametrize: Callable[[nn.Module], object], build: Callable[[], SpikingNetwork]
) -> None:
    model, (x, _) = build(), images()
    parametrize(next(module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)))
    expected, names = model(x), list(model.state_dict())
    for seen in (view(model), view(model, gradient=ATan()), view(model, channels_last=True), attack_view(model)):
        torch.testing.assert_close(seen(x), expected)
    assert evaluated(model).diagnosis.status == "ok"
    assert list(model.state_dict()) == names
    assert torch.equal(model(x), expected)


def traced(model: nn.Module) -> nn.Module:
    found: nn.Module = torch.jit.trace(model, torch.rand(6, *SHAPE))
    return found


def exported(model: nn.Module) -> nn.Module:
    return torch.export.export(model, (torch.rand(6, *SHAPE),)).module()


@pytest.mark.parametrize(("fixed", "said"), [(traced, r"torch\.jit"), (exported, r"torch\.export")])
@pytest.mark.parametrize("within", [nn.Identity(), nn.Flatten(1, 3)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_network_that_is_fixed_to_a_graph_is_refused(
    fixed: Callable[[nn.Module], nn.Module], said: str, within: nn.Module
) -> None:
    """Its gradient paths are gone, and attacks would break fewer images than they break of the network."""
    graph = fixed(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)) if isinstance(within, nn.Flatten) else plain())
    for model in (graph, nn.Sequential(nn.Identity(), graph)):
        with pytest.raises(UserError, match=f"{said}.*hand in the network that it was made of"):
            evaluated(model)
        with pytest.raises(UserError, match=said):
            view(model, gradient=ATan())


def test_a_forward_that_was_put_onto_the_object_is_refused_by_a_view() -> None:
    model = plain()
    own = model.forward
    model.forward = lambda x: own(x)  # type: ignore[method-assign]
    with pytest.raises(UserError, match="derive a class with that forward"):
        view(model, gradient=ATan())

"""Networks of SpikingJelly and snnTorch, as they are installed, and of Norse, as a small imitation has it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import FGSM, PGD, SAPGD, Along, Linf, Margin
from spikeproof.choices import UserError
from spikeproof.snn import (
    ASSG,
    BPTR,
    IF,
    LIF,
    ATan,
    Memory,
    Mixture,
    Neuron,
    Sigmoid,
    StraightThrough,
    Triangle,
    adapt,
    attack_view,
    can_follow,
    recall,
    remembered,
    view,
)
from spikeproof.snn.foreign import Foreign, ForeignSpike

base = pytest.importorskip("spikingjelly.activation_based.base")
jelly = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
snntorch = pytest.importorskip("snntorch")

STEPS = 4
THREAT = Linf(0.1)

# What Norse 1.1 looks like from outside: a step is a plain function kept by its module, the threshold a global name
# in it, its slope chosen by a word; state is passed along, and an outermost sequence returns it too.
NORSE = """
import torch
from torch import nn

class Super(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad / (ctx.saved_tensors[0].abs() + 1) ** 2

def threshold(u, method, alpha):
    return {"super": Super.apply}[method](u)

def lif_step(x, v, p, dt):
    v = v + p * (x - v)
    z = threshold(v - 0.2, "super", 100.0)
    return z, (1 - z) * v

def refractory_step(x, v, p, dt):
    return lif_step(x, v, p, dt)

class Cell(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.activation, self.fallback = activation, self.zeros

    def zeros(self, x):
        return torch.zeros_like(x)

    def forward(self, x, state=None):
        return self.activation(x, self.fallback(x) if state is None else state, 0.5, 0.001)

class SequentialState(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x, state=None):
        total, state = 0, state or [None] * len(self.layers)
        for _ in range(4):
            y = x.flatten(1) * 3
            for i, layer in enumerate(self.layers):
                y, state[i] = layer(y, state[i]) if isinstance(layer, Cell) else (layer(y), None)
            total = total + y / 4
        return total, state
"""


class JellyNetwork(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.body = nn.Sequential(
            nn.Linear(64, 24),
            jelly.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), step_mode=mode),
            nn.Linear(24, 10),
            jelly.IFNode(surrogate_function=surrogate.ATan(), step_mode=mode),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = 5 * x.flatten(1)
        if self.mode == "m":
            return self.body(x.expand(STEPS, *x.shape)).mean(0)
        return torch.stack([self.body(x) for _ in range(STEPS)]).mean(0)


class HiddenNetwork(nn.Module):
    """snnTorch's neurons keep their potentials themselves."""

    def __init__(self, mechanism: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 24), nn.Linear(24, 10)
        self.lif1 = snntorch.Leaky(beta=0.9, init_hidden=True, reset_mechanism=mechanism)
        self.lif2 = snntorch.Leaky(beta=0.9, init_hidden=True, reset_mechanism=mechanism, output=True)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.lif2(self.fc2(self.lif1(self.fc1(5 * x.flatten(1)))))[1] for _ in range(STEPS)]
        return torch.stack(outputs).mean(0)


class PassedNetwork(nn.Module):
    """snnTorch's neurons are given their state, and still keep the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 24), nn.Linear(24, 10)
        self.neuron = snntorch.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        synapse, potential = self.neuron.reset_mem()
        total = torch.zeros(())
        for _ in range(STEPS):
            spikes, synapse, potential = self.neuron(self.fc1(5 * x.flatten(1)), synapse, potential)
            total = total + self.fc2(spikes) / STEPS
        return total


def defined_in(module: str, source: str) -> dict[str, Any]:
    """What `source` defines, as if the module of that name did."""
    names: dict[str, Any] = {"__name__": module}
    exec(source, names)
    return names


def norse_imitation(step: str) -> nn.Module:
    norse = defined_in("norse.imitation", NORSE)
    cell = norse["Cell"]
    return norse["SequentialState"](nn.Linear(64, 24), cell(norse[step]), nn.Linear(24, 10), cell(norse[step]))


def norse_itself() -> nn.Module:
    norse = pytest.importorskip("norse.torch")
    layers = (nn.Linear(64, 24), norse.LIFRefracCell(), nn.Linear(24, 10), norse.LICell())

    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = norse.SequentialState(*layers)

        def forward(self, x: Tensor) -> Tensor:
            state, outputs = None, []
            for _ in range(16):
                out, state = self.body(20 * x.flatten(1), state)
                outputs.append(out)
            return torch.stack(outputs).mean(0)

    return Repeated()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SpikingJelly, step by step": lambda: JellyNetwork("s"),
    "SpikingJelly, all steps at once": lambda: JellyNetwork("m"),
    "snnTorch, subtract": lambda: HiddenNetwork("subtract"),
    "snnTorch, zero": lambda: HiddenNetwork("zero"),
    "snnTorch, state passed": PassedNetwork,
    "Norse, imitated": lambda: norse_imitation("lif_step"),
    "Norse, imitated, one step inside another": lambda: norse_imitation("refractory_step"),
    "Norse": norse_itself,
}
STATEFUL = [
    name for name in NETWORKS if name.startswith("SpikingJelly") or name in ("snnTorch, subtract", "snnTorch, zero")
]


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return built(request.param)


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).softmax(1)[:, 0].sum(), x)
    return slope


def own_logits(network: nn.Module, x: Tensor) -> Tensor:
    """The first answer of a network that was never called."""
    with torch.no_grad():
        answer = network(x)
    return answer[0] if isinstance(answer, tuple) else answer


def test_logits_are_the_networks_own_in_every_call_and_along_every_path(network: nn.Module, x: Tensor) -> None:
    expected = own_logits(network, x)
    model = adapt(network)
    assert expected.std() > 0
    views = [view(model, gradient=path) for path in (Triangle(width=0.3), Sigmoid(), StraightThrough(), ASSG())]
    for each in (model, *views, view(views[0], gradient=ATan()), nn.Sequential(nn.Identity(), model)):
        for _ in range(2):
            assert torch.equal(each(x), expected)
        with torch.no_grad():
            torch.testing.assert_close(each(x[:2]), expected[:2])  # another batch, rounded otherwise


@pytest.mark.parametrize("name", STATEFUL)
def test_what_leaks_without_it(name: str, x: Tensor) -> None:
    network = built(name)
    first, second = own_logits(network, x), own_logits(network, x)
    assert not torch.equal(first, second)
    assert torch.equal(adapt(network)(x), first)


def test_slopes_are_exchanged(network: nn.Module, x: Tensor) -> None:
    model = adapt(network)
    own, wide, sharp = (
        gradient(m, x)
        for m in (model, view(model, gradient=Triangle(width=3.0)), view(model, gradient=ATan(alpha=9.0)))
    )
    again = view(view(model, gradient=ATan(alpha=9.0)), gradient=Triangle(width=3.0))
    assert own.abs().sum() > 0
    assert len({tuple(g.flatten().tolist()) for g in (own, wide, sharp)}) == 3
    assert torch.equal(gradient(again, x), wide)
    assert torch.equal(gradient(model, x), own)


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith("Norse")])
def test_the_same_slope_gives_the_same_gradient(name: str, x: Tensor) -> None:
    """Both libraries' arctangent, with the alpha of their networks here, is ours."""
    model = adapt(built(name))
    torch.testing.assert_close(gradient(view(model, gradient=ATan(alpha=2.0)), x), gradient(model, x))


@pytest.mark.parametrize("slope", [Triangle(width=0.7), Sigmoid()], ids=str)
def test_gradients_are_those_of_our_neuron_with_that_slope(slope: Triangle | Sigmoid) -> None:
    x = (torch.randn(8, 16, generator=torch.Generator().manual_seed(0)) + 0.6).requires_grad_()
    weight = torch.randn(STEPS, 8, 16, generator=torch.Generator().manual_seed(1))
    theirs = view(jelly.LIFNode(tau=2.0, decay_input=False, step_mode="m"), gradient=slope)
    currents = x.expand(STEPS, 8, 16)
    ours = LIF(leak=0.5, gradient=slope).layer(STEPS)(currents)
    found = theirs(currents)
    assert torch.equal(found, ours)
    torch.testing.assert_close(*(torch.autograd.grad(s, x, weight)[0] for s in (found, ours)))


@pytest.mark.parametrize("mode", ["s", "m"])
def test_no_gradient_of_an_attack_flows_through_a_reset(mode: str, x: Tensor) -> None:
    """Of SpikingJelly's neurons, which are told so. snnTorch's know nothing else: their network is its own view."""

    def made(detached: bool) -> nn.Module:
        torch.manual_seed(0)
        network = JellyNetwork(mode)
        for neuron in network.body[1::2]:
            neuron.detach_reset = detached
        return adapt(network)

    through, detached = made(False), made(True)
    assert not torch.allclose(gradient(through, x), gradient(detached, x))
    attacked = attack_view(through)
    assert torch.equal(attacked(x), through(x))
    torch.testing.assert_close(gradient(attacked, x), gradient(detached, x))
    along = view(attacked, gradient=ATan(alpha=2.0, detach_reset=False))
    torch.testing.assert_close(gradient(along, x), gradient(through, x))
    assert attack_view(detached) is detached
    assert not through.network.body[1].detach_reset

    torch.manual_seed(0)
    other = adapt(HiddenNetwork("zero"))
    assert attack_view(other) is other


def test_several_calls_can_each_go_backward(network: nn.Module, x: Tensor) -> None:
    model = adapt(network).train()
    expected = gradient(model, x)
    x = x.clone().requires_grad_()
    answers = [model(x) for _ in range(3)]
    for answer in answers:
        found = torch.autograd.grad(answer.softmax(1)[:, 0].sum(), x)[0]
        assert torch.equal(found, expected)


def test_a_view_shares_tensors_and_no_state(network: nn.Module, x: Tensor) -> None:
    model = adapt(network)
    other = view(model, gradient=Triangle())
    assert all(a is b for a, b in zip(model.parameters(), other.parameters(), strict=True))
    mine, theirs = set(model.modules()), set(other.modules())
    assert not mine & theirs
    own_logits(other.network, x)  # type: ignore[arg-type]  # not through the view: the state stays
    inner = own_logits(network, x)
    assert torch.equal(inner, model(x))
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    assert torch.equal(other(x), model(x))


def test_an_attack_along_a_view_leaves_the_model_as_it_was(network: nn.Module, x: Tensor) -> None:
    model, y = adapt(network).train(), torch.arange(6)
    with torch.no_grad():
        before = model(x)
    weights = {name: t.clone() for name, t in model.state_dict().items()}
    found = Along(attack=PGD(steps=3), paths=(Triangle(width=2.0), ATan()))(model, x, y, THREAT)
    assert THREAT.contains(found, x).all()
    assert not torch.equal(found, x)
    assert all(module.training for module in model.modules() if "imitation" not in type(module).__module__)
    assert all(torch.equal(t, weights[name]) for name, t in model.state_dict().items())
    assert torch.equal(model(x), before)
    assert all(p.grad is None for p in model.parameters())


def test_paths_that_pass_over_time_cannot_be_followed(network: nn.Module, x: Tensor) -> None:
    model, y, plain = adapt(network), torch.arange(6), PGD(steps=2, start="clean")
    assert can_follow(model, Triangle())
    assert can_follow(model, ASSG())
    assert not can_follow(model, BPTR())
    assert not can_follow(model, Mixture())
    with pytest.raises(UserError, match="BPTR needs the neurons of spikeproof"):
        view(model, gradient=BPTR())
    skipping = Along(attack=plain, paths=(BPTR(), Triangle(width=2.0))).run(model, x, y, THREAT)
    assert (skipping.gradients == 2).all()
    assert torch.equal(skipping.x, plain(view(model, gradient=Triangle(width=2.0)), x, y, THREAT))
    alone = Along(attack=plain, paths=(BPTR(),))
    assert torch.equal(alone(model, x, y, THREAT), plain(model, x, y, THREAT))


def test_any_other_module_stays_as_it_is() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert adapt(plain) is plain
    assert can_follow(plain, BPTR())
    model = adapt(JellyNetwork("s"))
    assert adapt(model) is model
    assert isinstance(view(JellyNetwork("s"), gradient=Triangle()), Foreign)
    assert attack_view(plain) is plain


def test_other_networks_of_the_same_library_keep_their_state(x: Tensor) -> None:
    """snnTorch's own reset wipes the neurons of every network that was ever built."""
    streaming, model = HiddenNetwork("zero"), adapt(HiddenNetwork("zero"))
    own_logits(streaming, x)
    before = streaming.lif1.mem.clone()
    model(x)
    assert before.abs().sum() > 0
    assert torch.equal(streaming.lif1.mem, before)


def test_nothing_is_kept_after_a_call(x: Tensor) -> None:
    network = JellyNetwork("s")
    adapt(network)(x.clone().requires_grad_())
    assert [neuron.v for neuron in network.modules() if isinstance(neuron, jelly.BaseNode)] == [0.0, 0.0]
    hidden = HiddenNetwork("subtract")
    adapt(hidden)(x.clone().requires_grad_())
    assert not hidden.lif1.mem.any()
    assert not hidden.lif1.mem.requires_grad


def test_a_failing_call_leaves_no_state(x: Tensor) -> None:
    model = adapt(JellyNetwork("s"))
    expected = model(x)
    with pytest.raises(RuntimeError):
        model(torch.rand(2, 3))
    assert torch.equal(model(x), expected)


def test_what_a_network_declares_of_itself_is_heard() -> None:
    network = JellyNetwork("s")
    assert adapt(network).stochastic is None
    network.stochastic = True
    assert adapt(network).stochastic is True


def test_who_listens_to_a_model_does_not_listen_to_its_views(x: Tensor) -> None:
    model, heard = adapt(JellyNetwork("s")), []
    model.network.fc = model.network.body[0].register_forward_hook(lambda *_: heard.append(1))
    view(model, gradient=Triangle())(x)
    assert not heard
    model(x)
    assert heard


def test_a_network_that_keeps_its_spikes_in_a_list_can_be_viewed(x: Tensor) -> None:
    class Listing(JellyNetwork):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = {"outputs": [super().forward(x)]}
            return self.seen["outputs"][0]

    model = adapt(Listing("s"))
    expected = model(x.clone().requires_grad_())
    assert torch.equal(view(model, gradient=Triangle())(x), expected)


def test_a_module_used_twice_and_one_held_in_a_list_are_one_in_a_view_too(x: Tensor) -> None:
    class Entangled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(64, 24), nn.Linear(24, 10)
            self.lif = snntorch.Leaky(beta=0.9, init_hidden=True)
            self.body = nn.Sequential(self.fc1, self.lif, self.fc2)
            self.aside = [self.lif]

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(STEPS):
                self.body(x.flatten(1))
            return self.fc2(self.lif.mem + self.aside[0].mem)

    torch.manual_seed(0)
    model = adapt(Entangled())
    other = view(model, gradient=Triangle(width=3.0))
    assert model(x).std() > 0
    assert torch.equal(other(x), model(x))
    assert isinstance(other.network.aside[0].spike_grad, ForeignSpike)


def test_a_reset_does_not_write_into_what_a_gradient_needs() -> None:
    """Memories with a tensor to go back to are reset in place."""

    class Counter(base.MemoryModule):
        def __init__(self) -> None:
            super().__init__()
            self.register_memory("total", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            self.total = x * x
            return self.total * self.total

    x = torch.ones(3, requires_grad=True)
    adapt(Counter())(x).sum().backward()
    assert torch.equal(x.grad, torch.full((3,), 4.0))


OLD_JELLY = """
import torch
from torch import nn

class Node(nn.Module):
    jit_eval_single_step_forward_hard_reset = None

    def __init__(self, surrogate):
        super().__init__()
        self.surrogate_function, self.backend, self.v = surrogate, "cupy", 0.0

    def reset(self):
        self.v = 0.0

    def forward(self, x):
        u = self.v + x
        fired = self.surrogate_function(u - 1) if self.training else (u >= 1).to(u)
        self.v = u * (1 - fired)
        return fired
"""


def test_old_neurons_get_a_gradient_in_eval_mode_and_leave_their_kernels_for_another_slope(x: Tensor) -> None:
    """What SpikingJelly up to 0.0.0.0.14 does, imitated: a gradient in training only, kernels that know few slopes."""
    node = defined_in("spikingjelly.imitation", OLD_JELLY)["Node"](surrogate.ATan())
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), node).eval()
    x.requires_grad_()
    assert not network(8 * x).requires_grad
    node.reset()
    model = adapt(network)
    with torch.no_grad():
        expected = model(8 * x)
    assert torch.equal(model(8 * x), expected)
    assert torch.autograd.grad(model(8 * x).sum(), x)[0].any()
    assert not any(module.training for module in model.modules())
    other = view(model, gradient=Triangle())
    assert other.network[2].backend == "torch"
    assert node.backend == "cupy"


def test_another_slope_breaks_what_a_narrow_one_hides(digits: Any) -> None:
    x, y, x_test, y_test = digits
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), snntorch.Leaky(beta=0.5, init_hidden=True), nn.Linear(48, 10)
    )
    model = adapt(network)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for batch in torch.randperm(len(x)).split(32):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
    hidden = view(model, gradient=Triangle(width=1e-6))
    x, y = x_test[:60], y_test[:60]
    right = {
        name: (model(FGSM()(m, x, y, THREAT)).argmax(1) == y).sum() for name, m in (("own", hidden), ("wide", model))
    }
    assert right["wide"] < right["own"] - 10
    found = Along(attack=FGSM(), paths=(Triangle(), ATan()))(hidden, x, y, THREAT)
    assert (model(found).argmax(1) == y).sum() < right["own"] - 10


class OurNetwork(nn.Module):
    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 24), nn.Linear(24, 24), nn.Linear(24, 10)
        self.fire1, self.fire2 = neuron.layer(STEPS), neuron.layer(STEPS)

    def forward(self, x: Tensor) -> Tensor:
        currents = self.fc1(5 * x.flatten(1)).unsqueeze(0)  # [1, B, 24], constant in time
        return self.fc3(self.fire2(5 * self.fc2(self.fire1(currents)))).mean(0)


class TheirNetwork(nn.Module):
    """`ours` with the neurons of another library, called step by step, or with all steps at once where they can."""

    def __init__(self, ours: OurNetwork, neuron: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = ours.fc1, ours.fc2, ours.fc3
        self.fire1, self.fire2 = neuron(), neuron()
        self.steps = STEPS

    def forward(self, x: Tensor) -> Tensor:
        currents = self.fc1(5 * x.flatten(1))
        if getattr(self.fire1, "step_mode", "s") == "m":
            return self.after(self.fire1(currents.expand(self.steps, *currents.shape))).mean(0)
        return torch.stack([self.after(self.fire1(currents)) for _ in range(self.steps)]).mean(0)

    def after(self, spikes: Tensor) -> Tensor:
        spikes = self.fire2(5 * self.fc2(spikes.to(self.fc2.weight)))  # snnTorch's are float32 always
        return self.fc3(spikes.to(self.fc3.weight))


Makers = tuple[Neuron, Callable[[], nn.Module]]
SAME_DYNAMICS: dict[str, Makers] = {
    "SpikingJelly, LIF": (LIF(), lambda: jelly.LIFNode(tau=2.0, decay_input=False)),
    "SpikingJelly, LIF, all steps at once": (LIF(), lambda: jelly.LIFNode(tau=2.0, decay_input=False, step_mode="m")),
    "SpikingJelly, IF, soft": (IF(reset="soft"), lambda: jelly.IFNode(v_reset=None)),
    "SpikingJelly, IF, detached": (IF(detach_reset=True), lambda: jelly.IFNode(detach_reset=True, step_mode="m")),
    "snnTorch, LIF": (
        LIF(detach_reset=True),
        lambda: snntorch.Leaky(beta=0.5, init_hidden=True, reset_mechanism="zero"),
    ),
    "snnTorch, IF, soft": (
        IF(reset="soft", detach_reset=True),
        lambda: snntorch.Leaky(beta=1.0, init_hidden=True, reset_mechanism="subtract"),
    ),
}


@pytest.fixture(params=SAME_DYNAMICS)
def twins(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module]:
    """The same function of the image, built of our neurons and of another library's."""
    neuron, theirs = SAME_DYNAMICS[request.param]
    torch.manual_seed(0)
    ours = OurNetwork(neuron)
    return ours.double().eval(), adapt(TheirNetwork(ours, theirs).double().eval())


def along_assg(name: str) -> nn.Module:
    return view(adapt(built(name)), gradient=ASSG())


def learn(model: nn.Module, x: Tensor, memory: Memory | None = None, *, learn: bool = True) -> tuple[Tensor, Memory]:
    """The gradient from `memory` on, and what is remembered then."""
    recall(model, memory, learn=learn)
    return gradient(model, x), remembered(model)


def test_assg_is_that_of_our_neurons_call_after_call(twins: tuple[nn.Module, nn.Module], x: Tensor) -> None:
    ours, theirs = (view(model, gradient=ASSG()) for model in twins)
    x = x.double()
    torch.testing.assert_close(theirs(x.clone()), ours(x.clone()))
    slopes, our_memory, their_memory = [], None, None
    for _ in range(3):
        expected, our_memory = learn(ours, x, our_memory)
        found, their_memory = learn(theirs, x, their_memory)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        slopes.append(found)
    assert slopes[0].any()
    assert not torch.allclose(slopes[0], slopes[1])  # what was seen has sharpened the slopes


def test_an_attack_along_assg_finds_what_it_finds_on_our_neurons(twins: tuple[nn.Module, nn.Module]) -> None:
    """Images drop out of the batch as they are broken."""
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(3)).double()
    y = twins[0](x).argmax(1)
    attack = Along(attack=SAPGD(steps=5, loss=Margin()), paths=(ASSG(),))
    ours, theirs = (attack.run(model, x, y, Linf(0.02), stop=True) for model in twins)
    broken = twins[0](ours.x).argmax(1) != y
    assert 0 < broken.sum() < len(x)
    assert len(ours.gradients.unique()) > 2
    torch.testing.assert_close(theirs.x, ours.x, rtol=0, atol=1e-5)
    assert torch.equal(theirs.gradients, ours.gradients)
    own = replace(attack, paths=(BPTR(),)).run(twins[1], x, y, Linf(0.02), stop=True)  # left out: its own slope
    assert not torch.allclose(own.x, theirs.x)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_row_is_an_image_whichever_others_there_are(name: str, x: Tensor) -> None:
    """Kept in slots: every image sees the slopes that it sees alone, as often as it was attacked."""
    model = along_assg(name)
    slots = tuple(torch.zeros_like(rows) for rows in learn(model, x)[1])
    alone: list[Memory | None] = [None] * len(x)
    for indices in ([0, 1, 2, 3], [0, 2, 5], [5], [1, 5], [5, 4, 3, 2, 1, 0]):
        found, memory = learn(model, x[indices], tuple(rows[indices] for rows in slots))
        for kept, rows in zip(slots, memory, strict=True):
            kept[indices] = rows
        for image, of_image in zip(indices, found, strict=True):
            expected, alone[image] = learn(model, x[image : image + 1], alone[image])
            torch.testing.assert_close(of_image, expected[0])
            assert expected.any()


def test_the_draws_of_one_gradient_share_their_slopes(network: nn.Module, x: Tensor) -> None:
    """Further draws learn nothing, as passes without a gradient do."""
    model = view(adapt(network), gradient=ASSG())
    recall(model, None)
    with torch.no_grad():
        model(1 - x)
    first = gradient(model, x)
    memory = remembered(model)
    assert torch.equal(learn(model, x, memory, learn=False)[0], first)
    again, same = learn(model, 1 - x, memory, learn=False)
    assert again.any()
    assert all(map(torch.equal, same, memory))
    assert not torch.equal(learn(model, x, memory)[0], first)


def test_a_view_itself_remembers_nothing(network: nn.Module, x: Tensor) -> None:
    """Any other view along the path goes on with what one remembered."""
    model = view(adapt(network), gradient=ASSG())
    first = gradient(model, x)
    assert torch.equal(gradient(model, x), first)
    assert remembered(model) == ()
    memory = learn(model, x)[1]
    second, _ = learn(model, x, memory)
    assert not torch.equal(second, first)
    for other in (view(model), view(model, gradient=ASSG()), view(view(model, gradient=ATan()), gradient=ASSG())):
        recall(model, memory)
        assert torch.equal(gradient(other, x), first)
        assert torch.equal(learn(other, x, memory)[0], second)
        assert torch.equal(gradient(model, x), second)
    assert "gradient=ASSG(share=0.8)" in repr(model)


def test_any_number_of_steps_and_of_calls_has_its_memories(x: Tensor) -> None:
    """A call that was never seen begins anew, as does one of another shape."""

    class Shared(nn.Module):
        """Its one neuron fires three times a step, for layers of two widths, and for each image twice."""

        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(64, 24), nn.Linear(24, 10)
            self.fire, self.steps = snntorch.Leaky(beta=0.9), 3

        def forward(self, x: Tensor) -> Tensor:
            one = two = three = total = torch.zeros(())
            for _ in range(self.steps):
                spikes, one = self.fire(self.fc1(5 * x.flatten(1)), one)
                outputs, two = self.fire(5 * self.fc2(spikes), two)
                twice, three = self.fire(5 * self.fc2(torch.cat([spikes, spikes])), three)
                total = total + outputs + twice[: len(x)] + twice[len(x) :]
            return total

    torch.manual_seed(0)
    for network in (Shared(), TheirNetwork(OurNetwork(LIF()), jelly.LIFNode)):
        model: Any = view(adapt(network), gradient=ASSG())
        for steps in (3, 5, 2, 5):
            model.network.steps = steps
            first, memory = learn(model, x)
            for indices in ([0, 1, 2, 3, 4, 5], [1, 4]):
                found, _ = learn(model, x[indices], tuple(rows[indices] for rows in memory))
                assert found.isfinite().all()
                assert found.any()
                assert not torch.equal(found, first[indices])


def test_a_neuron_that_sees_all_steps_in_one_call_takes_assg(x: Tensor) -> None:
    """SpikingJelly's parallel neuron; what it calls rows are time steps, known by their place."""
    torch.manual_seed(0)
    network = JellyNetwork("m")
    network.body[1] = jelly.PSN(T=STEPS)
    model = view(adapt(network), gradient=ASSG())
    slots = learn(model, x)[1]
    for indices in ([0, 1, 2, 3, 4, 5], [0, 2, 5], [0, 1, 2, 3], [5]):
        found, memory = learn(model, x[indices], tuple(rows[indices] for rows in slots))
        assert found.any()
        assert all(len(rows) == len(indices) for rows in memory)
        with torch.no_grad():
            assert torch.equal(model(x), adapt(network)(x))

"""Do images that break another network come from it alone, and are they judged by the attacked one?"""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from outcomes import broken
from torch import Tensor, nn

from spikeproof.attacks import APGD, PGD, Along, Linf, Margin, Transfer, TwinTransfer, UniformNoise
from spikeproof.choices import UserError
from spikeproof.evaluation import Protocol, Suite, evaluate
from spikeproof.evaluation.ledger import fingerprint_of_verdicts
from spikeproof.evaluation.predictions import Given
from spikeproof.runs import Run
from spikeproof.runs.foreign import built_by
from spikeproof.runs.records import FactoryRecord
from spikeproof.runs.weights import write_foreign
from spikeproof.snn import Poisson, SpikingNetwork, Triangle, ann_twin, view

THREAT = Linf(0.1)


def test_the_images_are_those_of_the_other_network(
    another_run: str, trained: SpikingNetwork, trained_ann: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """What the attack finds there, to rounding (its batch norms are folded); they break the ANN, and far fewer here."""
    inside = PGD(steps=10, start="clean")
    found = Transfer(file=another_run, attack=inside)(trained, *batch, THREAT)
    there = inside(trained_ann, *batch, THREAT)
    assert ((found - there).abs().flatten(1).amax(1) < 1e-5).float().mean() > 0.9
    noise = UniformNoise()(trained, *batch, THREAT)
    y = batch[1]
    assert broken(trained_ann, found, y).sum() > broken(trained, found, y).sum() > broken(trained, noise, y).sum()


def test_the_images_of_the_twin(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    inside = APGD(steps=10, loss=Margin())
    found = [TwinTransfer(attack=inside, clipped=clipped)(trained, *batch, THREAT) for clipped in (False, True)]
    for clipped, images in zip((False, True), found, strict=True):
        assert torch.equal(images, inside(ann_twin(trained, clipped=clipped), *batch, THREAT))
    assert not torch.equal(*found)
    noise = broken(trained, UniformNoise()(trained, *batch, THREAT), batch[1]).sum()
    assert all(broken(trained, images, batch[1]).sum() > noise for images in found)


def test_a_network_without_spikes_is_its_own_twin(trained_ann: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    inside = PGD(steps=3)
    assert torch.equal(TwinTransfer(attack=inside)(trained_ann, *batch, THREAT), inside(trained_ann, *batch, THREAT))


@pytest.mark.parametrize("stop", [False, True])
def test_the_source_is_attacked_to_its_end_and_the_target_never_asked(
    stop: bool, another_run: str, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """Costs are those on the source: a break there says nothing of the target, and nothing here ends it early."""
    asked: list[int] = []
    counted = nn.Sequential(trained)
    counted.register_forward_hook(lambda module, inputs, output: asked.append(len(output)))
    for attack in (Transfer(file=another_run, attack=PGD(steps=4)), TwinTransfer(attack=PGD(steps=4))):
        outcome = attack.run(counted, *batch, THREAT, stop=stop)
        assert (outcome.gradients == 4).all()
        assert (outcome.forwards == 5).all()
        assert torch.equal(outcome.x, attack(trained, *batch, THREAT))
        assert not attack.white_box
    assert not asked


def test_images_in_double(another_run: str, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch[0].double(), batch[1]
    found = Transfer(file=another_run, attack=PGD(steps=2))(copy.deepcopy(trained).double(), x, y, THREAT)
    assert found.dtype == torch.float64
    assert THREAT.contains(found, x).all()


def test_the_draws_of_a_stochastic_network_are_averaged_in_its_twin() -> None:
    """Another network's own noise is for the attack inside to average over."""
    inside = PGD(steps=2)
    assert TwinTransfer(attack=inside).averaging(5) == TwinTransfer(attack=PGD(steps=2, eot=5))
    assert Transfer(file="elsewhere", attack=inside).averaging(5) == Transfer(file="elsewhere", attack=inside)


def test_the_twin_of_a_network_fed_with_spikes_sees_the_image(
    trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """It draws nothing: the same gradient at every call."""
    attack = TwinTransfer(attack=PGD(steps=2, start="clean"))
    found = [attack(view(trained, encoder=Poisson()), *batch, THREAT, seed=seed) for seed in (0, 1)]
    assert torch.equal(*found)


def test_what_is_no_run_folder_is_refused(
    tmp_path: Path, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(UserError, match="set file"):
        Transfer(file="")
    with pytest.raises(UserError, match=r"no run folder .*nowhere"):
        Transfer(file=str(tmp_path / "nowhere"))(trained, *batch, THREAT)


def test_another_network_of_code_from_elsewhere_needs_trust(
    trained: SpikingNetwork, batch: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trust` of an evaluation is that of the networks which its attacks read."""
    (tmp_path / "elsewhere_net.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    how = FactoryRecord(factory="elsewhere_net:build")
    write_foreign(Run(tmp_path / "source"), built_by(how.factory), how)
    inside = Along(attack=Transfer(file=str(tmp_path / "source"), attack=PGD(steps=2)), paths=(Triangle(),))
    protocol = Protocol(threats=(THREAT,), suite=Suite(name="transfer", attacks=(inside,)))
    kept = Run(tmp_path)
    with pytest.raises(UserError, match="code from outside spikeproof; it is only run with --trust"):
        evaluate(trained, batch, protocol)
    assert evaluate(trained, batch, protocol, trust=True, state=kept).gradients.max() == 2
    with pytest.raises(UserError, match="--trust"):
        evaluate(trained, batch, protocol, state=kept)


def test_progress_names_the_attack_and_not_the_network_that_it_reads(
    another_run: str, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    said: list[str] = []
    suite = Suite(name="transfer", attacks=(Transfer(file=another_run, attack=PGD(steps=2)),))
    evaluate(trained, batch, Protocol(threats=(THREAT,), suite=suite), progress=lambda what, *_: said.append(what))
    assert said[1:2] == [f"{THREAT}: Transfer(file={another_run}, attack=PGD(steps=2))"]
    assert all(what.startswith("red flags: ") for what in [*said[:1], *said[2:]])


def test_kept_work_is_not_that_of_another_network_inside_another_attack(
    another_run: str, trained: SpikingNetwork, batch: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    """The weights of the network that images come from are in the fingerprint wherever the attack stands."""
    shutil.copytree(another_run, tmp_path / "source")
    inside = Along(attack=Transfer(file=str(tmp_path / "source"), attack=PGD(steps=2)))
    protocol = Protocol(threats=(THREAT,), suite=Suite(name="transfer", attacks=(inside,)))
    before = fingerprint_of_verdicts(trained, Given(*batch), protocol, 256)
    run = Run(tmp_path / "source")
    tensors, facts = run.read_tensors("model.safetensors")
    run.write_tensors("model.safetensors", {name: tensor + 1 for name, tensor in tensors.items()}, facts)
    assert fingerprint_of_verdicts(trained, Given(*batch), protocol, 256) != before

"""What an attack on the energy does, what is kept of it, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.runs import Run
from spikeproof.runs.locks import LOCK
from spikeproof.runs.records import EnergyRecord

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def test_an_attack_costs_more_than_noise_and_keeps_the_class(trained: sp.SpikingNetwork, digits: Examples) -> None:
    x = digits[2][:32]
    found = sp.energy(trained, x, sp.Linf(0.1), sp.EnergyAttack(steps=20))
    assert found.attacked.acs_spikewise > 1.02 * found.clean.acs_spikewise
    assert found.attacked.acs_spikewise > found.random.acs_spikewise
    assert found.rise > 1.0
    assert found.kept == 1.0
    free = sp.energy(trained, x, sp.Linf(0.3), sp.EnergyAttack(steps=20, keep_class=False))
    assert free.kept < 1.0
    assert free.rise > found.rise


def test_nothing_is_raised_by_eps_0_and_without_a_threat_nothing_is_attacked(
    trained: sp.SpikingNetwork, digits: Examples
) -> None:
    x = digits[2][:8]
    still = sp.energy(trained, x, sp.Linf(0.0), sp.EnergyAttack(steps=2))
    assert still.clean == still.attacked == still.random
    plain = sp.energy(trained, x)
    assert plain.clean == still.clean
    assert (plain.threat, plain.attack, plain.attacked, plain.kept, plain.rise) == (None,) * 5


def test_batches_do_not_matter(trained: sp.SpikingNetwork, digits: Examples) -> None:
    x = digits[2][:10]
    one, several = (vars(sp.energy(trained, x, batch=batch).clean) for batch in (10, 3))
    assert one == pytest.approx(several)


def test_an_ann_multiplies(trained_ann: sp.SpikingNetwork, digits: Examples) -> None:
    found = sp.energy(trained_ann, digits[2][:16], sp.Linf(0.1), sp.EnergyAttack(steps=5))
    assert found.clean.effective_acs == found.attacked.effective_acs == 0
    assert found.clean.nanojoules == pytest.approx(4.6e-3 * found.clean.effective_macs)


def test_a_network_without_weights_is_refused() -> None:
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(2).mean(2).expand(-1, 10)

    with pytest.raises(sp.UserError, match="no linear layer and no convolution"):
        sp.energy(Sums(), torch.rand(4, 1, 8, 8))


def test_one_command_a_record_and_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["train", "--config", "demo/standard", "--training.epochs", "1", "--out", "runs/lif", "--quiet"])
    settings = ["--eps", "0.1", "--images", "20", "--attack.steps", "3", "--quiet"]
    main(["energy", "runs/lif", *settings])
    assert "nJ" in capsys.readouterr().out
    kept = Run(Path("runs/lif")).read(EnergyRecord)
    x, _ = sp.Digits().part("test").first(20).batch(range(20))
    direct = sp.energy(sp.load_model("runs/lif"), x, sp.Linf(0.1), sp.EnergyAttack(steps=3))
    assert (kept.clean, kept.attacked, kept.kept) == (direct.clean, direct.attacked, direct.kept)
    (left := Path("runs/lif", LOCK)).touch()  # by a process that was killed behind its result
    with monkeypatch.context() as patch:
        patch.setattr("spikeproof.evaluation.consumed_runs.energy", lambda *a, **k: pytest.fail("measured again"))
        main(["energy", "runs/lif", *settings])
    assert not left.exists()
    main(["evaluate", "runs/lif", "--suite", "quick", "--eps", "0.1", "--images", "20", "--quiet"])
    for name in ("page.html", "table.md", "rows.json"):
        main(["report", "runs", "--out", name, "--quiet"])
    page, table = Path("page.html").read_text(), Path("table.md").read_text()
    assert '<section id="energy">' in page
    assert f"{kept.clean.nanojoules_spikewise:.0f} nJ" in page
    assert "| Energy, nJ |" in table
    assert "EnergyAttack(steps=3) within Linf 0.1, on the first 20 images of the test part" in table
    assert '"nanojoules"' in Path("rows.json").read_text()
    assert "one eps" in fails("energy", "runs/lif", "--eps", "0.1,0.2")

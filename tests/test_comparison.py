"""Recipes compared from Python: trained, attacked under one protocol, and reported; refused before hours are spent."""

from dataclasses import replace

import pytest

import spikeproof as sp
from spikeproof.runs import Run

PROTOCOL = sp.Protocol(threats=sp.Linf(0.1), suite=sp.Suite(name="small", attacks=(sp.FGSM(),)), images=20)


def recipe(name, **choices):
    return sp.Recipe(
        name=name,
        network=sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2),
        training=sp.Training(epochs=1, selection=sp.Selection(images=8, attack=sp.FGSM())),
        **choices,
    )


def test_every_recipe_is_trained_for_every_seed_evaluated_and_reported(tmp_path):
    recipes = [recipe("plain"), recipe("other", objective=sp.SparseGradient())]
    runs = sp.compare(recipes, PROTOCOL, tmp_path / "out", seeds=2)
    assert [run.name for run in runs] == ["plain-seed0", "plain-seed1", "other-seed0", "other-seed1"]
    assert [run.record.seed for run in runs] == [0, 1, 0, 1]
    assert all(len(run.evaluations) == 1 for run in runs)
    table = sp.write_report([sp.Run(str(run.path)) for run in runs], f"{tmp_path}/table.md")
    assert table.read_text(encoding="utf-8").count("| plain |") == 1
    assert "plain" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    before = {run.name: run.record.finished for run in runs}
    again = sp.compare(recipes, PROTOCOL, tmp_path / "out", seeds=2)
    assert {run.name: run.record.finished for run in again} == before


@pytest.mark.parametrize(
    ("recipes", "protocol", "seeds", "said"),
    [
        ([], PROTOCOL, 1, "at least one recipe"),
        ([recipe("a"), recipe("a", seed=3)], PROTOCOL, 1, "same name: a, a"),
        ([recipe("a")], PROTOCOL, 0, "seeds must be at least 1, not 0"),
        ([recipe("a")], sp.Protocol(threats=sp.Linf(), images=9999), 1, "take 1 to 360, not 9999"),
        (
            [recipe("a")],
            sp.Protocol(threats=sp.FrameLinf()),
            1,
            "is a threat on recordings, and the data of a are images",
        ),
    ],
)
def test_what_would_stop_half_way_is_refused_before_anything_is_trained(recipes, protocol, seeds, said, tmp_path):
    with pytest.raises(sp.UserError, match=said):
        sp.compare(recipes, protocol, tmp_path / "out", seeds)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_recipe_is_refused_before_anything_is_trained(tmp_path):
    sp.train(recipe("b", seed=5), tmp_path / "out" / "b")
    with pytest.raises(sp.UserError, match="another recipe"):
        sp.compare([recipe("a"), recipe("b")], PROTOCOL, tmp_path / "out")
    assert not (tmp_path / "out" / "a").exists()
    assert Run(tmp_path / "out" / "b").record.seed == 5


def test_a_missing_network_that_images_are_transferred_from_is_named_first_unless_it_is_made_here(tmp_path):
    def transferred(source):
        return replace(PROTOCOL, suite=sp.Suite(name="from", attacks=(sp.Transfer(file=str(source)),)))

    with pytest.raises(sp.UserError, match=r"no run folder .*nowhere"):
        sp.compare([recipe("a")], transferred(tmp_path / "nowhere"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (run,) = sp.compare([recipe("a")], transferred(tmp_path / "out" / "a"), tmp_path / "out")
    assert len(run.evaluations) == 1

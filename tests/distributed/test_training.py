"""Do ranks train as one? One run folder, the same steps, and on after a kill with any number of them."""

import pytest
import torch
from safetensors.torch import load_file

import spikeproof as sp
from spikeproof.distributed import Ranks
from spikeproof.runs import Run
from tests.distributed.launched import script, torchrun

TRAIN = """
from dataclasses import replace
from spikeproof.data.images import images_in_memory
from spikeproof.training.checkpoints import State

images = images_in_memory((x * 255).byte(), y, tuple("0123456789"))
sp.Digits.part = lambda self, *where: images  # so that nothing has to be read
selection = sp.Selection(attack=sp.FGSM(), threat=sp.Linf(0.05), images=16)
training = sp.Training(epochs=3, batch=16, optimiser=sp.SGD(learning_rate=0.05), average=0.5, selection=selection)
plain = sp.Recipe(
    name="r", network=sp.Network(architecture=sp.MLP(hidden=(8, 8)), neuron=sp.ReLU(), steps=1), training=training
)
adversarial = replace(
    plain,
    network=sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2),
    objective=sp.Adversarial(threat=sp.Linf(0.05), attack=sp.PGD(steps=2)),
)
synchronised = replace(plain, training=replace(training, synchronised_batch_norm=True, epochs=1))
"""
ALL_ALIKE = (
    TRAIN
    + """
def held(model):
    return [tensor.tolist() for tensor in model.state_dict().values()]

save = State.save
with joined() as ranks:
    def alike(self, *rest):
        told.append([held(self.model), held(self.average)])
        save(self, *rest)

    told = []
    State.save = alike
    model = sp.train(adversarial, sys.argv[1], ranks=ranks)
    returned = ranks.gather(held(model))
    assert all(one == returned[0] for one in returned)
    assert bool(told) == ranks.first  # who writes
"""
)
ONE_EPOCH = (
    TRAIN
    + """
with joined() as ranks:
    sp.train(synchronised, sys.argv[1], ranks=ranks)
"""
)
STOPPED = (
    TRAIN
    + """
save, saved = State.save, []
def saving(self, *rest):
    save(self, *rest)
    saved.append(1)
    if len(saved) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

State.save = saving
with joined() as ranks:
    sp.train(adversarial, sys.argv[1], ranks=ranks)
"""
)


def weights(folder):
    return load_file(folder / "model.safetensors")


def trained(ranks, folder, code, *rest):
    folder.mkdir(parents=True, exist_ok=True)
    return torchrun(ranks, script(folder.parent, code), folder, *rest)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "run"
    ended = trained(2, folder, ALL_ALIKE)
    assert ended.code == 0, ended.said
    return folder


def test_a_run_of_two_ranks_is_one_run(two):
    run = Run(two)
    assert [epoch.epoch for epoch in run.epochs] == [1, 2, 3]
    assert run.record.finished
    assert not list(two.glob(".*"))


def test_statistics_and_gradients_of_all_ranks_are_those_of_one_process(tmp_path):
    """Without random numbers, and with batch norm over the ranks, only the order of sums differs."""
    for ranks in (1, 2):
        ended = trained(ranks, tmp_path / f"{ranks}" / "run", ONE_EPOCH)
        assert ended.code == 0, ended.said
    one, two = weights(tmp_path / "1" / "run"), weights(tmp_path / "2" / "run")
    fresh = sp.Network(architecture=sp.MLP(hidden=(8, 8)), neuron=sp.ReLU(), steps=1).build((1, 8, 8), 10, seed=0)
    for name, tensor in fresh.state_dict().items():
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
        if name.endswith("weight"):
            assert not torch.allclose(one[name], tensor, rtol=1e-3, atol=1e-4), f"{name} has not learned"
    losses = [Run(tmp_path / f"{ranks}" / "run").epochs[0].losses for ranks in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("after", [2, 1])
def test_a_killed_training_goes_on_with_as_many_ranks_to_the_same_weights_and_with_others(after, two, tmp_path):
    ended = trained(2, tmp_path / "run", STOPPED, 1)
    assert ended.code != 0
    assert "SIGKILL" in ended.said
    assert len(Run(tmp_path / "run").read_lines("metrics.jsonl")) == 1
    ended = trained(after, tmp_path / "run", STOPPED, 0)
    assert ended.code == 0, ended.said
    assert [epoch.epoch for epoch in Run(tmp_path / "run").epochs] == [1, 2, 3]
    same = all(torch.equal(tensor, weights(two)[name]) for name, tensor in weights(tmp_path / "run").items())
    assert same == (after == 2)


def test_a_batch_that_cannot_be_shared_evenly_is_refused_before_anything_is_written(tmp_path):
    for batch, ranks, near in ((30, 4, 32), (4, 4, 8)):
        recipe = sp.Recipe(name="r", training=sp.Training(batch=batch))
        with pytest.raises(sp.UserError, match=f"{ranks} ranks cannot share a batch of {batch}.*batch to {near}"):
            sp.train(recipe, tmp_path / "run", ranks=Ranks(size=ranks))
    assert not (tmp_path / "run").exists()


COMPARE = (
    TRAIN
    + """
import spikeproof.comparison as comparison

train, by = comparison.train, []

def training_by(*given, ranks, **rest):
    by.append(ranks.size)
    return train(*given, ranks=ranks, **rest)

comparison.train = training_by
recipes = [replace(plain, name=f"r{k}", training=replace(training, epochs=1)) for k in range(3)]
with joined() as ranks:
    for folder, count in (("dealt", 3), ("together", 1)):
        by.clear()
        runs = sp.compare(recipes[:count], replace(protocol, draws=None), f"{sys.argv[1]}/{folder}", ranks=ranks)
        print([run.evaluations[0].read_json("verdicts.json")["status"] for run in runs])
        everyone = ranks.gather(list(by))
        if ranks.first:
            print(folder, sorted(sum(everyone, [])))
"""
)


def test_a_comparison_deals_runs_where_there_are_more_than_ranks(tmp_path):
    ended = trained(2, tmp_path / "out", COMPARE)
    assert ended.code == 0, ended.said
    assert "dealt [1, 1, 1]" in ended.out  # three runs, each by one rank
    assert "together [2, 2]" in ended.out  # one run, by both
    assert ended.out.count("['ok', 'ok', 'ok']") == ended.out.count("['ok']") == 2  # every rank knows every run
    for folder in ("dealt", "together"):
        assert (tmp_path / "out" / folder / "report.html").exists()
        assert not list((tmp_path / "out" / folder).rglob("verdicts.partial*"))

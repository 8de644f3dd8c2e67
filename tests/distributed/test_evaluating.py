"""Are verdicts the same, image by image, with any number of ranks, and after one was killed?"""

import numpy as np
import pytest

from spikeproof.runs import Run
from tests.distributed.launched import script, torchrun

JUDGE = """
from dataclasses import replace
from spikeproof.evaluation.flags import trials

trials.STEPS = (1, 2, 3, 4)  # enough to tell whether what ranks break is put together
trials.TOOLS["images"] = trials.PIXELS._replace(control=sp.Square(queries=5), unbounded=sp.PGD(steps=3))
examined = replace(protocol, suite=replace(suite, examined=6))
noisy = sp.Network(architecture=sp.MLP(hidden=(16,)), encoder=sp.Poisson(), steps=2).build((1, 8, 8), 10).eval()
with joined() as ranks:
    for name, model in (("certain", network), ("noisy", noisy)):
        found = sp.evaluate(model, (x, y), examined, batch=8, ranks=ranks)
        flags = np.array(repr([flag.summary() for flag in found.flags]))
        about = {"flags": flags, "spent": np.array(found.spent_on_flags), "said": np.array(repr(found.diagnosis))}
        np.savez(f"{sys.argv[1]}/{name}-{ranks.rank}.npz", **found.arrays(), **about)
"""
STOP = """
from spikeproof.evaluation.ledger import Ledger

kill, folder = int(sys.argv[1]), sys.argv[2]
note, attacked = Ledger.note, []

def noting(self, index, found):
    note(self, index, found)
    attacked.append(len(index))
    if kill and self.ranks.rank == 1 and len(attacked) == kill:
        os.kill(os.getpid(), signal.SIGKILL)

Ledger.note = noting
with joined() as ranks:
    found = sp.evaluate(network, (x, y), protocol, batch=4, state=sp.Run(folder), ranks=ranks)
    np.savez(f"{folder}/found-{ranks.rank}.npz", attacked=sum(attacked), **found.arrays())
"""


def judged(folder, ranks):
    folder.mkdir()
    ended = torchrun(ranks, script(folder, JUDGE), folder)
    assert ended.code == 0, ended.said
    return {file.name: dict(np.load(file)) for file in sorted(folder.glob("*.npz"))}


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return judged(tmp_path_factory.mktemp("one") / "rank", 1)


@pytest.mark.parametrize("ranks", [2, 4])
def test_every_rank_has_the_verdicts_and_the_flags_of_one_process(ranks, usual, tmp_path):
    assert len(np.unique(usual["certain-0.npz"]["broken_at"])) == 4  # wrong, broken at either eps, and not broken
    found = judged(tmp_path / "ranks", ranks)
    assert len(found) == 2 * ranks
    for name, arrays in found.items():
        for key, expected in usual[f"{name.partition('-')[0]}-0.npz"].items():
            assert np.array_equal(arrays[key], expected), (name, key)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    ended = torchrun(1, script(folder, STOP), 0, folder)
    assert ended.code == 0, ended.said
    return np.load(folder / "found-0.npz")


@pytest.mark.parametrize(("before", "after"), [(4, 1), (2, 4)])
def test_a_killed_rank_stops_all_and_any_number_of_ranks_goes_on(before, after, never_stopped, tmp_path):
    file = script(tmp_path, STOP)
    ended = torchrun(before, file, 7, tmp_path)
    assert ended.code != 0
    assert "SIGKILL" in ended.said
    kept = {file.name: Run(tmp_path).read_arrays(file.name) for file in tmp_path.glob("verdicts.partial*.npz")}
    assert "verdicts.partial-1.npz" in kept
    done = np.max([arrays["stages"] for arrays in kept.values()], axis=0)
    assert done.any()
    ended = torchrun(after, file, 0, tmp_path)
    assert ended.code == 0, ended.said
    ends = [np.load(tmp_path / f"found-{rank}.npz") for rank in range(after)]
    for found in ends:
        for name in set(never_stopped) - {"attacked"}:
            assert np.array_equal(found[name], never_stopped[name]), name
    again = sum(int(found["attacked"]) for found in ends)
    assert again + done.sum() == never_stopped["attacked"]  # nothing is done twice

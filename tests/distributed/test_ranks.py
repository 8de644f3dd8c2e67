"""Do ranks stop together, and say why once? And one process is as it always was."""

import time

import pytest
import torch

import spikeproof as sp
from spikeproof.choices import UserError
from spikeproof.distributed import ALONE, Ranks, joined
from spikeproof.evaluation.foreign_runs import adopt_foreign
from spikeproof.runs.records import FactoryRecord
from tests.distributed.launched import script, torchrun

DEALT = """
import time
with joined() as ranks:
    assert ranks.gather(ranks.rank) == [0, 1, 2, 3]
    assert ranks.of_first(lambda: f"from {ranks.rank}") == "from 0"
    assert ranks.sum(torch.tensor([1.0, ranks.rank])).tolist() == [4.0, 6.0]
    for _ in range(2):  # the same work may be dealt again
        taken = []
        for number in ranks.turns(9, "nine"):
            taken.append(number)
            time.sleep(0.5 if number == 0 else 0.02)
        assert sorted(sum(ranks.gather(taken), [])) == list(range(9))
        assert 0 not in taken or len(taken) < 6  # who is busy gets no more
    cards = torch.arange(10)
    assert sorted(card for dealt in ranks.gather(ranks.dealt(cards, 2)) for b in dealt for card in b.tolist()) == list(
        range(10)
    )
    whole = [batch.tolist() for dealt in ranks.gather(ranks.dealt(cards, 4, whole=True)) for batch in dealt]
    assert sorted(whole) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    print("done", ranks.rank)
"""
OTHERS = """
with joined() as ranks:
    y[5] += ranks.rank
    sp.evaluate(network, (x, y), protocol, ranks=ranks)
"""
FAILS = """
with joined() as ranks:
    if ranks.rank == 1:
        raise {error}
    ranks.wait()
    print("went on")
"""


def test_what_is_sent_summed_and_dealt(tmp_path):
    ended = torchrun(4, script(tmp_path, DEALT))
    assert ended.code == 0, ended.said
    assert ended.out.count("done") == 4


def test_ranks_that_see_other_data_are_named(tmp_path):
    ended = torchrun(2, script(tmp_path, OTHERS))
    assert ended.code != 0
    assert "rank 0 (" in ended.said
    assert "do not see the same: labels" in ended.said


@pytest.mark.parametrize("error", ["sp.UserError('no tea')", "ValueError('no milk')"])
def test_a_rank_that_fails_stops_the_others_with_its_reason(error, tmp_path):
    started = time.monotonic()
    ended = torchrun(2, script(tmp_path, FAILS.format(error=error)))
    assert ended.code != 0
    assert "went on" not in ended.out
    assert error.split("'")[1] in ended.said
    assert time.monotonic() - started < 30  # it does not wait for who is gone


def test_other_versions_are_named_with_their_ranks(monkeypatch):
    ranks = Ranks(size=3)
    told = [("a", {"torch": "2.13", "numpy": "2"}), ("a", {"torch": "2.13", "numpy": "2"}), ("b", {"torch": "2.11"})]
    monkeypatch.setattr(Ranks, "gather", lambda self, mine: told)
    with pytest.raises(UserError, match=r"rank 0 \(a\) and rank 2 \(b\) .*: torch 2.13 and 2.11, numpy 2 and None"):
        ranks.agree({"torch": "2.13", "numpy": "2"})


def test_one_process_is_alone_and_sends_nothing():
    with joined() as ranks:
        assert ranks is ALONE
        assert not torch.distributed.is_initialized()
        assert ranks.gather(7) == [7]
        assert list(ranks.turns(3, "work")) == [0, 1, 2]
        assert [b.tolist() for b in ranks.dealt(torch.arange(5), 2)] == [[0, 1], [2, 3], [4]]
        ranks.wait()
        ranks.agree({"torch": "any"})


@pytest.mark.parametrize(
    ("ranks", "gpus", "name", "said"),
    [
        (ALONE, 0, "cuda", "no device 'cuda' here.*no CUDA"),
        (ALONE, 0, "nonsense", "no device 'nonsense'"),
        (Ranks(1, 4, 1), 2, "cuda:0", "say cuda, not cuda:0"),
        (Ranks(2, 4, 2), 2, None, "3 ranks need as many GPUs, and here are 2: --nproc-per-node 2"),
    ],
)
def test_a_device_that_is_not_there_is_refused(ranks, gpus, name, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=said):
        ranks.device_of(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_cuda_is_refused_from_python_where_there_is_none_before_anything_is_written(tmp_path):
    for work in (
        lambda: sp.train(sp.Recipe(name="r"), tmp_path / "r", device="cuda"),
        lambda: sp.compare([sp.Recipe(name="r")], sp.Protocol(threats=sp.Linf()), tmp_path, device="cuda"),
        lambda: adopt_foreign(
            FactoryRecord(factory="torch.nn:Identity"), None, sp.Digits(), tmp_path / "f", device="cuda"
        ),
    ):
        with pytest.raises(sp.UserError, match=r"no device 'cuda' here.*sees no CUDA GPU; cpu always is"):
            work()
    assert not list(tmp_path.iterdir())


def test_each_rank_of_a_machine_takes_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch, "empty", lambda *size, device: device)
    assert Ranks(6, 8, 2).device_of() == torch.device("cuda", 2)
    assert Ranks(6, 8, 2).device_of("cuda").index == 2
    assert Ranks(6, 8, 2).alone().device_of("cuda").index == 2
    assert ALONE.device_of("cuda").index is None

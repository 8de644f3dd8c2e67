"""Do the campaigns find what they look for, keep count, and go on where they were stopped? And small ones of each."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from benchmarks.campaigns import budgets, damages, kills
from benchmarks.campaigns.__main__ import FINE, main
from benchmarks.campaigns.children import tried
from benchmarks.campaigns.journal import Journal
from benchmarks.campaigns.kills import Blow, content, inside, watched
from spikeproof.attacks import PGD, Attack, Linf
from spikeproof.runs import written_whole


def test_a_child_is_told_apart_by_how_it_ends() -> None:
    def dies() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    assert tried(lambda: [1, 2], 20) == ((0, "", False), [1, 2])
    assert tried(lambda: 1 / 0, 20)[0].traceback
    assert tried(dies, 20)[0].status == -signal.SIGKILL
    assert tried(lambda: time.sleep(60), 0.3)[0].slow
    assert tried(lambda: bytearray(2**33), 20, memory=0.5)[0].traceback  # MemoryError, and this machine lives on


def test_a_journal_goes_on_and_names_no_place(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.json")
    journal.tally("one", 5).note("tracebacks", f"{tmp_path}/x/y.npz: bad")
    journal.write()
    again = Journal(tmp_path / "a.json").tally("one", 7)
    assert (again.trials, again.planned, again.failures) == (1, 7, ["tracebacks: y.npz: bad"])
    assert str(tmp_path) not in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize("name", list(damages.formats()))
def test_damaged_files_end_in_an_error_or_in_the_same(name: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.json")
    damages.campaign(journal, 12, lambda: False, only=name)
    tally = journal.tallies[f"damage to {name}"]
    assert tally.trials == 12
    assert set(tally.ends) <= {*FINE, "refused at length"}, tally.failures


def test_a_reader_that_breaks_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789" * 20)
    careless = damages.Format(lambda path: None, lambda path: int(path.read_bytes()))
    whole = (tmp_path / "a").read_bytes()
    ends = {damages.one(tmp_path / "a", careless, whole, int(whole), n, "careless")[0] for n in range(40)}
    assert {"tracebacks", "silently accepted"} <= ends
    assert (tmp_path / "a").read_bytes() == whole


@pytest.mark.parametrize("attack", list(budgets.attacks()), ids=lambda attack: type(attack).__name__)
def test_every_attack_keeps_to_its_budget(attack: Attack) -> None:
    assert {budgets.kept(attack, number)[0] for number in range(8)} <= {"inside", "no threat that it knows"}


def test_an_attack_that_does_not_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linf, "project", lambda self, perturbed, x: torch.ones_like(x))
    assert "inside" not in {budgets.kept(budgets.shortened(PGD()), number)[0] for number in (5, 10, 15) if number % 5}


def test_a_blow_falls_at_its_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the rename the old file is whole, after it the new one; and the next writer sweeps what is left."""

    def writes(words: list[str]) -> None:
        with written_whole(Path("a.json")) as temporary:
            temporary.write_text(json.dumps(words))

    monkeypatch.setattr("benchmarks.campaigns.kills.main", writes)
    done = tried(inside(tmp_path, lambda: watched(("old",), None)), 20)[1]
    assert done[:2] == ["fsync", "replace"]
    for number, after, found in ((0, False, "old"), (1, False, "old"), (1, True, "new")):
        end, _ = tried(inside(tmp_path, lambda n=number, a=after: watched(("new",), Blow(n, a, "SIGKILL"))), 20)
        assert end.status == -signal.SIGKILL
        assert json.loads((tmp_path / "a.json").read_text()) == [found]
        tried(inside(tmp_path, lambda: watched(("old",), None)), 20)
        assert list(content(tmp_path)) == ["a.json"]


def test_times_are_no_results(tmp_path: Path) -> None:
    """Nor is the digest of a record, which holds times; other digests are."""
    found = []
    for number, (time_, weights) in enumerate((("1", "a"), ("2", "a"), ("2", "b"))):
        record = {"seconds": time_, "sha256": time_, "network_sha256": weights}
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "a.json").write_text(json.dumps(record))
        found.append(content(tmp_path / f"{number}"))
    assert found[0] == found[1] != found[2]


def test_only_files_of_the_command_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inside").mkdir()

    def writes(words: list[str]) -> None:
        for place in (Path("a"), tmp_path / "b"):
            place.write_text("")
            os.replace(place, place.with_suffix(".new"))

    monkeypatch.setattr("benchmarks.campaigns.kills.main", writes)
    assert tried(inside(tmp_path / "inside", lambda: watched((), None)), 20)[1] == ["replace unsynced"]


def test_commands_are_killed_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each, until the time is up; and what a careful writer leaves is as before."""

    def writes(words: list[str]) -> None:
        with suppress(KeyboardInterrupt), written_whole(Path("a.json")) as temporary:
            temporary.write_text(json.dumps(words))

    monkeypatch.setattr("benchmarks.campaigns.kills.main", writes)
    monkeypatch.setattr(kills, "commands", lambda configs: {"one": kills.Command(("1",)), "two": kills.Command(("2",))})
    journal = Journal(tmp_path / "a.json")
    tallies = [journal.tally(f"kills of {name}", 9) for name in ("one", "two")]
    kills.campaign(journal, 9, lambda: sum(tally.trials for tally in tallies) >= 5)
    assert [tally.trials for tally in tallies] == [3, 2]
    assert all(set(tally.ends) == {"as before"} for tally in tallies), [tally.failures for tally in tallies]
    assert journal.tallies["order of writes of two"].ends == {"all synced": 1}


def test_the_command_line_counts_and_returns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.json"
    assert main(["--only", "budgets", "--trials", "1", "--out", str(out)]) == 0
    assert "budget of PGD: 1 of 1 trials: {'inside': 1}" in capsys.readouterr().out
    assert json.loads(out.read_text())["campaigns"]["budget of FAB"]["ends"] == {"inside": 1}

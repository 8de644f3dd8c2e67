"""Do two writers of one run meet, and does a run stop whose folder was deleted?"""

import os
import shutil
import signal
import subprocess
import sys

import pytest

import spikeproof as sp
from spikeproof.runs import Run
from spikeproof.runs.locks import LOCK, locked, sweep
from spikeproof.training import train

HOLDER = """
import sys, time
from pathlib import Path
from spikeproof.runs import Run
from spikeproof.runs.locks import locked
with locked(Run(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""
RECIPE = sp.Recipe(
    name="small",
    network=sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2),
    training=sp.Training(epochs=3, selection=sp.Selection(images=8)),
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_told_who_the_first_is_and_takes_over_when_it_is_killed(holder, tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(sp.UserError, match=rf"another process, {holder.pid} on .* writes into .*run") as caught:
        train(RECIPE, run.path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in run.path.iterdir()] == [LOCK]
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert LOCK in run  # it could not take it away
    with locked(run):
        run.write_text("run.json", "{}")
    assert [path.name for path in run.path.iterdir()] == ["run.json"]


def test_a_lock_of_words_that_nobody_holds_is_none(tmp_path):
    (tmp_path / LOCK).write_text('{"process": 1, "machine": "\x1b[2J"}')
    with locked(Run(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_what_was_refused(tmp_path):
    def refused():
        with locked(Run(tmp_path / "a" / "b")):
            raise sp.UserError("no")

    with pytest.raises(sp.UserError, match="no"):
        refused()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_deleted_under_a_run_stops_it(tmp_path):
    def report(text, done, total):
        if done >= 1:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.raises(sp.UserError, match="is gone: it was moved or deleted") as caught:
        train(RECIPE, tmp_path / "run", progress=report)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_beside_a_whole_result_is_swept_unless_somebody_writes(holder, tmp_path):
    run, left = Run(tmp_path / "run"), tmp_path / "run" / "verdicts.partial.npz"
    left.write_bytes(b"")
    sweep(run, [left])
    assert left.exists()
    holder.kill()
    holder.wait()
    sweep(run, [left])
    assert list(run.path.iterdir()) == []


def test_nothing_is_written_where_nothing_was_left(tmp_path):
    sweep(Run(tmp_path / "run"), [])
    assert list(tmp_path.iterdir()) == []

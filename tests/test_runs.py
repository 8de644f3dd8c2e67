import json

import numpy as np
import pytest
import torch

import spikeproof as sp
from spikeproof.runs import Run, find_runs, written_whole


def test_what_is_written_is_read_back(tmp_path):
    run = Run(tmp_path)
    arrays = {"a": np.arange(5), "b": np.array("text"), "c": np.zeros((2, 0))}
    tensors = {"w": torch.randn(3, 2).t(), "n": torch.tensor(7), "b": torch.ones(2, dtype=torch.bfloat16)}
    run.write_arrays("a.npz", arrays)
    run.write_tensors("t.safetensors", tensors, {"epoch": 3})
    run.write_lines("l.jsonl", [{"x": 1}, {"x": 2.5}])
    run.write_json("j.json", {"k": [1, None]})
    back = run.read_arrays("a.npz")
    assert all(np.array_equal(arrays[k], back[k]) for k in arrays)
    read, facts = run.read_tensors("t.safetensors")
    assert facts == {"epoch": 3}
    assert all(torch.equal(tensors[k], read[k]) and tensors[k].dtype == read[k].dtype for k in tensors)
    assert run.read_lines("l.jsonl") == [{"x": 1}, {"x": 2.5}]
    assert run.read_json("j.json") == {"k": [1, None]}


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")

    def half():
        with written_whole(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_nan_is_never_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Run(tmp_path).write_json("j.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.npz", "t.safetensors", "l.jsonl", "j.json"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path, name, keep):
    run = Run(tmp_path)
    run.write_arrays("a.npz", {"a": np.arange(100)})
    run.write_tensors("t.safetensors", {"w": torch.ones(9)}, {})
    run.write_lines("l.jsonl", [{"some": "line"}])
    run.write_json("j.json", {"some": "thing"})
    path = tmp_path / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    readers = {"a.npz": run.read_arrays, "t.safetensors": run.read_tensors, "l.jsonl": run.read_lines}
    read = readers.get(name, run.read_json)
    if name == "l.jsonl" and keep == 0.0:
        assert read(name) == []  # an empty log is a log
        return
    with pytest.raises(sp.UserError, match=name):
        read(name)


def test_runs_are_found_in_folders_and_folders_of_folders(tmp_path):
    for name in ("b", "a"):
        Run(tmp_path / name).write_json("run.json", {"name": name})
    assert [run.name for run in find_runs([tmp_path])] == ["a", "b"]
    assert [run.name for run in find_runs([tmp_path / "b"])] == ["b"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(sp.UserError, match=r"run\.json"):
        find_runs([tmp_path / "empty"])
    with pytest.raises(sp.UserError, match=r"no run folder in .*empty"):
        find_runs([tmp_path / "a", tmp_path / "empty"])
    assert [run.name for run in find_runs([tmp_path / "b", tmp_path, tmp_path / "a"])] == ["b", "a"]


def test_the_environment_is_json():
    from spikeproof.runs import environment
    from spikeproof.runs.json_forms import as_json

    facts = json.loads(json.dumps(as_json(environment())))
    assert facts["versions"]["torch"] == torch.__version__

"""Does ``torchrun -m spikeproof`` do what one process does, print once, and say once what is wrong?"""

import pytest
import torch
import yaml

from spikeproof.runs import Run
from tests.distributed.launched import torchrun

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("config") / "small.yaml"
    small = {"class_path": "MLP", "init_args": {"hidden": [8]}}
    written = {
        "name": "small",
        "data": {"class_path": "Digits", "init_args": {"train_images": 64, "validation_images": 32}},
        "network": {"architecture": small, "steps": 2},
        "training": {"epochs": 1, "batch": 16, "selection": {"images": 16, "attack": "FGSM"}},
    }
    file.write_text(yaml.safe_dump(written))
    return file


def test_train_and_evaluate_print_once_and_leave_one_run(config, tmp_path):
    out = tmp_path / "run"
    ended = torchrun(2, "-m", "spikeproof", "train", "--config", config, "--out", out)
    assert ended.code == 0, ended.said
    assert ended.out.count("epoch 1 kept") == 1
    options = ["--eps", "0.05,0.1", "--images", "20", "--suite", "habit", "--batch", "5"]
    ended = torchrun(2, "-m", "spikeproof", "evaluate", out, *options)
    assert ended.code == 0, ended.said
    assert ended.out.count("Wilson interval") == 1
    (folder,) = Run(out).evaluations
    found = folder.read_json("verdicts.json")
    assert found["images"] == 20
    assert not list(folder.path.glob("verdicts.partial*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--device", "cuda"], "there is no device 'cuda' here", marks=NO_GPU),
        (["--training.bach", "16"], "batch"),
    ],
)
def test_what_is_wrong_is_said_once_without_a_traceback_of_ours(words, said, config, tmp_path):
    ended = torchrun(2, "-m", "spikeproof", "train", "--config", config, "--out", tmp_path / "run", *words)
    assert ended.code != 0
    ours = ended.said.partition("torch.distributed.elastic")[0]
    assert ours.count("error:") == 1
    assert said in ended.said
    assert "spikeproof/cli" not in ended.said
    assert not (tmp_path / "run").exists()


def test_what_ranks_do_not_share_is_done_by_one():
    ended = torchrun(2, "-m", "spikeproof", "--version")
    assert ended.code == 0, ended.said
    assert len(ended.out.split()) == 1

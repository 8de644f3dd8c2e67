"""Is a run folder refused whose files were changed, or are of different runs?"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import spikeproof as sp
from spikeproof.configs import from_config, to_config
from spikeproof.evaluation import evaluate_run
from spikeproof.reports.reading.evidence import read_evidence
from spikeproof.runs import Run
from spikeproof.runs.records import SCHEMA, VerdictsRecord
from spikeproof.runs.verdict_files import read_verdicts
from spikeproof.runs.weights import read_weights
from spikeproof.training import train
from spikeproof.training.checkpoints import State

SUITE = sp.Suite(name="one", attacks=[sp.PGD(steps=2)])
PROTOCOL = sp.Protocol(threats=[sp.Linf(0.05), sp.Linf(0.1)], suite=SUITE, images=20)
OLD = Path(__file__).parent / "runs_of_0_1_0"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    recipe = sp.Recipe(
        name="small",
        network=sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2),
        training=sp.Training(epochs=1, selection=sp.Selection(images=8)),
    )
    folder = tmp_path_factory.mktemp("ties")
    for seed in (0, 1):
        train(replace(recipe, seed=seed), folder / str(seed))
        evaluate_run(Run(folder / str(seed)), PROTOCOL)
    return folder


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made / "0", tmp_path / "run")
    return Run(tmp_path / "run")


def edited(run, file, change):
    """Edits a record as somebody with a text editor would."""
    content = json.loads((run.path / file).read_text())
    change(content)
    (run.path / file).write_text(json.dumps(content))
    return type(run)(run.path)


def evaluation(run):
    """The folder of the one evaluation of a run."""
    (folder,) = run.evaluations
    return folder


def older(content):
    """A record of the schema that had no digest."""
    content.pop("sha256")
    content["schema"] = SCHEMA - 1


def refused(call, said):
    with pytest.raises(sp.UserError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_what_belongs_together_is_read(run):
    (found,) = read_evidence(run)
    assert found.verdicts is not None
    record, arrays = read_verdicts(edited(evaluation(run), "verdicts.json", older))
    assert record.images == len(arrays["label"]) == 20


@pytest.mark.parametrize("name", ["bars", "digits"])
def test_what_0_1_0_wrote_is_read(name):
    (found,) = read_evidence(Run(OLD / name))
    assert found.verdicts is not None
    sp.load_model(OLD / name)


def test_an_edited_model_is_refused(run):
    def fewer(content):
        content["network"]["init_args"]["steps"] = 1

    edited(run, "model.json", fewer)
    refused(lambda: sp.load_model(run.path), r"model\.json is damaged .*changed after it was written")
    edited(run, "model.json", older)
    refused(lambda: sp.load_model(run.path), r"model\.json is not the one that model\.safetensors was written with")
    refused(lambda: read_evidence(run), r"model\.json is not the one")


@pytest.mark.parametrize("field", ["mean", "std"])
@pytest.mark.parametrize("value", [[float("inf")], [float("nan")], [], ["x"], [10**400], None])
def test_a_mean_that_is_no_number_is_refused(run, field, value):
    edited(run, "model.json", lambda content: content.update({field: value}))
    refused(lambda: sp.load_model(run.path), r"model\.json")


def test_edited_choices_are_refused(run):
    def more(content):
        content["config"]["training"]["init_args"]["epochs"] = 100
        older(content)

    refused(lambda: read_evidence(edited(run, "run.json", more)), r"run\.json is not the one")
    refused(lambda: sp.load_model(run.path), r"run\.json is not the one")


def test_verdicts_of_other_weights_are_refused(run, made):
    shutil.rmtree(run.path / "verdicts")
    shutil.copytree(made / "1" / "verdicts", run.path / "verdicts")
    refused(lambda: read_evidence(run), r"verdicts\.json is of other weights")
    evaluate_run(run, PROTOCOL)  # adds those of the weights that are there
    assert len(run.evaluations) == 2
    (found,) = read_evidence(run)
    assert found.verdicts is not None


def accuracy(content):
    content["threats"][0]["robust_accuracy"]["value"] = 0.99


def interval(content):
    content["clean_accuracy"]["low"] += 0.01


def one_more(content):
    content["gradient_evaluations"] += 1


def raised(content):
    content["flags"][0]["raised"] = not content["flags"][0]["raised"]


@pytest.mark.parametrize("change", [accuracy, interval, one_more, raised])
def test_a_summary_at_odds_with_its_arrays_is_refused(run, change):
    folder = edited(evaluation(run), "verdicts.json", change)
    refused(lambda: read_verdicts(folder), r"verdicts\.json is damaged .*changed after it was written")
    edited(folder, "verdicts.json", older)
    refused(lambda: read_verdicts(folder), r"verdicts\.json is not as spikeproof writes it")


@pytest.mark.parametrize(("name", "value"), [("broken_at", 3), ("broken_at", -2), ("broken_by", 1), ("label", -1)])
def test_arrays_that_no_evaluation_finds_are_refused(run, name, value):
    folder = evaluation(run)
    arrays = folder.read_arrays("verdicts.npz")
    arrays[name][0] = value
    folder.write_arrays("verdicts.npz", arrays)
    refused(lambda: read_verdicts(folder), r"another evaluation, or was changed")
    folder.write(replace(folder.read(VerdictsRecord), arrays_sha256=""))
    refused(lambda: read_verdicts(folder), f"{name} of verdicts.npz holds other values")


def rewritten(path, tensors=None, change=lambda kept: None):
    """A file of tensors with the digest that it had."""
    with safe_open(path, framework="pt") as stream:
        kept = json.loads(stream.metadata()["spikeproof"])
    change(kept)
    save_file(tensors or load_file(path), path, metadata={"spikeproof": json.dumps(kept)})


def test_types_shapes_and_facts_are_in_the_digest(tmp_path):
    run, path = Run(tmp_path), tmp_path / "t.safetensors"
    tensors = {"w": torch.arange(6, dtype=torch.float32)}

    def other_facts(kept):
        kept["facts"]["metrics"][0]["validation_accuracy"] = 0.99

    for changed in ({"w": tensors["w"].view(torch.int32)}, {"w": tensors["w"].view(2, 3)}, {"v": tensors["w"]}, None):
        run.write_tensors(path.name, tensors, {"metrics": [{"epoch": 1, "validation_accuracy": 0.5}]})
        rewritten(path, changed, (lambda kept: None) if changed else other_facts)
        refused(lambda: run.read_tensors(path.name), "not those that were written")
    rewritten(path, None, lambda kept: kept.update(facts=None))
    refused(lambda: run.read_tensors(path.name), "is damaged")


def test_weights_of_another_type_are_refused_without_a_digest_of_types(run):
    path = run.path / "model.safetensors"
    tensors, _ = run.read_tensors(path.name)
    name = next(name for name, tensor in tensors.items() if tensor.dtype == torch.float32)
    run.write_tensors(path.name, tensors | {name: tensors[name].view(torch.int32)}, {})
    refused(lambda: sp.load_model(run.path), f"{name} is torch.int32, and the network's is torch.float32")


def test_identical_tensors_are_identical_bytes(tmp_path):
    tensors = {f"layer.{k}": torch.full((3,), float(k)) for k in range(20)}
    facts = {f"fact {k}": k for k in range(20)}
    for file in ("a", "b", "c", "d"):
        Run(tmp_path).write_tensors(file, tensors, facts)
    assert len({(tmp_path / file).read_bytes() for file in ("a", "b", "c", "d")}) == 1


def test_a_flipped_bit_in_an_archive_of_torch_is_named(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"w": torch.ones(1000)}, path)
    assert read_weights(path)["w"].sum() == 1000
    content = bytearray(path.read_bytes())
    place = bytes(content).index(np.ones(100, np.float32).tobytes()) + 200
    content[place] ^= 1
    path.write_bytes(bytes(content))
    refused(lambda: read_weights(path), r"w\.pt is a damaged archive: .*data/0 does not fit its checksum")


def at(content, path, value):
    *outer, last = path
    for name in outer:
        content = content[name]
    content[last] = value


@pytest.mark.parametrize(
    ("file", "path", "value", "named"),
    [
        ("run.json", ("seed",), "x", "RunRecord.seed is 'x', and not int"),
        ("run.json", ("config", "data", "init_args"), 3, r"RunRecord.config.data.init_args is 3, and not dict"),
        ("run.json", ("environment",), [], "RunRecord.environment is"),
        ("verdicts.json", ("threats", 0, "eps"), [1], r"threats\[0\].eps is \[1\], and not int or float"),
        ("verdicts.json", ("suite", "attacks", 0, "config", "class_path"), 1, "config.class_path is 1, and not str"),
        ("verdicts.json", ("flags", 0, "raised"), 1, r"flags\[0\].raised is 1, and not bool"),
        ("verdicts.json", ("images",), 10**6, "1000000 images"),
    ],
)
def test_a_field_of_another_type_is_named(run, file, path, value, named):
    def change(content):
        at(content, path, value)
        older(content)

    edited(evaluation(run) if file.startswith("verdicts") else run, file, change)
    refused(lambda: read_evidence(Run(run.path)), rf"{file} is not as spikeproof writes it .*{named}")


def test_a_run_without_data_is_refused(run):
    tensors, _ = run.read_tensors("model.safetensors")
    run.write_tensors("model.safetensors", tensors, {})
    edited(run, "run.json", lambda content: (content.update(config={}), older(content)))
    refused(lambda: evaluate_run(Run(run.path), PROTOCOL), r"run\.json is not as spikeproof writes it .*config\.data")


def test_a_checkpoint_of_other_types_is_named(run, made):
    recipe = from_config({"init_args": run.record.config}, sp.Recipe)
    state = State.fresh(recipe, torch.device("cpu"))
    for facts in (
        {"metrics": 3},
        {"metrics": [{"epoch": "x"}]},
        {"metrics": [], "reached": {"stps": 1}},
        {"metrics": []},
    ):
        run.write_tensors("checkpoint.safetensors", {}, {"recipe": to_config(recipe), "ann": None} | facts)
        refused(lambda: state.resume(run, recipe), r"checkpoint\.safetensors is not as spikeproof writes it")


def test_a_half_evaluation_of_another_form_counts_for_nothing(run):
    folder = evaluation(run)
    record, arrays = read_verdicts(folder)
    (folder.path / "verdicts.json").unlink()
    rows = {name: arrays[name] for name in ("broken_at", "broken_by", "gradients", "forwards")}
    rows |= {"undefined": np.zeros(20, bool), "settings": np.array(record.fingerprint)}
    for stages in (np.full(7, 9), np.full(20, 9.5), np.full((20, 2), 9)):
        folder.write_arrays("verdicts.partial.npz", rows | {"stages": stages})
    assert evaluate_run(run, PROTOCOL) == folder
    assert np.array_equal(read_verdicts(folder)[1]["broken_at"], arrays["broken_at"])

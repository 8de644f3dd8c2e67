"""The command line as a user meets it: what it prints, what it leaves, how it answers mistakes."""

import json

import pytest
import yaml

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.configs import to_config
from spikeproof.evaluation import flags
from spikeproof.evaluation.ledger import Ledger
from spikeproof.runs.records import VerdictsRecord

TINY = {
    "name": "tiny",
    "data": {"class_path": "Digits", "init_args": {"train_images": 256}},
    "network": {"architecture": {"class_path": "MLP", "init_args": {"hidden": [24]}}, "steps": 2},
    "training": {
        "epochs": 1,
        "optimiser": {"class_path": "AdamW", "init_args": {"learning_rate": 0.01}},
        "selection": {"images": 8, "attack": {"class_path": "FGSM"}},
    },
}


@pytest.fixture
def config(tmp_path):
    def write(**changes):
        fields = TINY | changes
        path = tmp_path / f"{fields['name']}.yaml"
        path.write_text(yaml.safe_dump(fields))
        return str(path)

    return write


def verdicts(run):
    """The summary of a run's only evaluation."""
    (found,) = sp.Run(run).evaluations
    return found.read_json("verdicts.json")


def test_train_evaluate_report(config, tmp_path, capsys):
    run, page = tmp_path / "runs" / "tiny", tmp_path / "page.html"
    main(["train", "--config", config(), "--out", str(run), "--seed", "3", "--training.epochs=2"])
    assert json.loads((run / "run.json").read_text())["seed"] == 3
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    main(["evaluate", str(run.parent), "--eps", "4/255,0.1", "--images", "40", "--suite", "quick"])
    found = verdicts(run)
    assert [t["eps"] for t in found["threats"]] == [4 / 255, 0.1]
    main(["evaluate", str(run), "--eps", "0.1", "--images", "30", "--suite", "habit"])
    assert [len(sp.Run(run).evaluations), len(sp.Run(run).epochs)] == [2, 2]
    capsys.readouterr()
    main(["report", str(run), "--out", str(page), "--verdicts", "habit"])
    assert "tiny [" not in capsys.readouterr().out
    main(["report", str(run), "--out", str(page)])
    out = capsys.readouterr().out
    assert "tiny [habit]" in out
    assert f"{100 * found['clean_accuracy']['value']:.1f}" in out
    assert "</html>" in page.read_text()


def test_compare_takes_several_configs_and_seeds_and_does_nothing_twice(config, tmp_path, capsys, monkeypatch):
    other = config(name="noisy", objective={"class_path": "GaussianNoise", "init_args": {"sigma": "25/255"}})
    command = [
        "compare",
        config(),
        other,
        "--out",
        str(tmp_path / "out"),
        "--images",
        "30",
        "--seeds",
        "2",
        "--suite=quick",
    ]
    main([*command, "--eps", "0.1"])
    folders = sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir())
    assert folders == ["noisy-seed0", "noisy-seed1", "tiny-seed0", "tiny-seed1"]
    page = (tmp_path / "out" / "report.html").read_text()
    monkeypatch.setattr("spikeproof.training.loop._epoch", lambda *a: pytest.fail("trained again"))
    monkeypatch.setattr(Ledger, "opened", lambda *a: pytest.fail("attacked again"))
    main([*command, "--eps", "0.1"])
    assert (tmp_path / "out" / "report.html").read_text() == page
    assert capsys.readouterr().out.count("noisy") >= 2


def test_ctrl_c_leaves_a_state_from_which_the_same_command_goes_on(config, tmp_path, capsys, monkeypatch):
    command = ["compare", config(), "--out", str(tmp_path / "out"), "--images", "50", "--eps", "0.1", "--suite=quick"]
    note, notes = Ledger.note, []

    def interrupted(self, *args):
        note(self, *args)
        notes.append(self.stage)
        if len(notes) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "note", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 130
    assert "goes on from here" in capsys.readouterr().out
    assert list((tmp_path / "out" / "tiny" / "verdicts").glob("quick-Linf-*/verdicts.partial.npz"))
    main(command)
    assert len(notes) > 2
    assert len(set(notes)) == len(notes)  # no batch twice
    assert (tmp_path / "out" / "report.html").exists()


def test_list_names_everything(capsys):
    main(["list"])
    out = capsys.readouterr().out
    for name in (
        "CIFAR10",
        "SEWResNet",
        "PLIF",
        "Triangle",
        "Latency",
        "TRADES",
        "AdamW",
        "Cosine",
        "L2",
        "PGD",
        "DLR",
    ):
        assert name in out
    assert "quick: UniformNoise(draws=2), FGSM" in out


def test_doctor(capsys):
    main(["doctor"])
    out = capsys.readouterr().out
    assert "fused kernels" in out
    assert sp.__version__ in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--name=x", "--objective=TRADS"], "did you mean 'TRADES'"),
        (["train", "--name=x", "--data=Cifr10"], "did you mean 'CIFAR10'"),
        (["train", "--name=x", "--objective=TRADES", "--objective.bta=1"], "did you mean 'beta'"),
        (["train", "--name=x", "--traning.epochs=3"], "did you mean 'training'"),
        (["train", "--name=x", "--training.epochs=0"], "epochs must be at least 1"),
        (["train"], "name"),
        (["evaluate", "nowhere"], "no folder nowhere"),
        (["evaluate", "nowhere", "--eps=8"], "write 8/255"),
        (["evaluate", "nowhere", "--eps=-1/255"], "must be a number from 0 on"),
        (["evaluate", "nowhere", "--suite=quik"], "did you mean 'quick'"),
        (["compare", "nowhere.yaml"], "no configuration file nowhere.yaml"),
        (["report", "nowhere"], "no folder nowhere"),
        (["report", "[/red]"], "no folder [/red]"),
        (["train", "--name=x", "--training.batch=1"], "batch of Training must be a whole number from 2 on, not 1"),
        (["train", "--name=x", "--device=foo"], "no device 'foo'"),
        (["train", "--name=x", "--config=/bin/ls"], "error"),
        (["compare", "/bin/ls"], "is no UTF-8"),
        (["evaluate", "nowhere", "--threat=L2", "--threat.eps=200"], "0.5 is usual"),
        (["evaluate", "nowhere", "--eps=0.1,0.1"], "same eps is given twice"),
    ],
)
def test_mistakes_are_answered_with_what_would_be_right(arguments, says, fails):
    assert says in fails(*arguments)


def test_an_unknown_key_stops_before_anything_is_loaded(config, tmp_path, fails, monkeypatch):
    monkeypatch.setattr(sp.Digits, "part", lambda *a: pytest.fail("data were loaded"))
    path = config(objective={"class_path": "TRADES", "init_args": {"betta": 3}})
    message = fails("compare", path, "--out", str(tmp_path / "out"))
    assert "tiny.yaml" in message
    assert "did you mean 'beta'" in message
    assert not (tmp_path / "out").exists()
    assert "did you mean 'training'" in fails("train", "--config", config(trainig={"epochs": 2}))


def test_an_unknown_key_that_holds_nothing_is_an_error_too(config, tmp_path, fails):
    for command in (["compare"], ["train", "--config"]):
        assert "did you mean 'network'" in fails(*command, config(netwrk={}), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    for command in (["compare"], ["train", "--config"]):
        assert "empty.yaml holds no settings" in fails(*command, str(empty))


def test_what_would_stop_a_comparison_half_way_stops_it_at_once(config, tmp_path, fails, monkeypatch):
    monkeypatch.setattr("spikeproof.training.loop._epoch", lambda *a: pytest.fail("trained first"))
    out = ["--out", str(tmp_path / "out")]
    assert "take 1 to 360, not 9999" in fails("compare", config(), *out, "--images", "9999")
    last = config(name="last", data="CIFAR10")
    message = fails("compare", config(), last, *out, "--data-root", str(tmp_path))
    assert "test_batch" in message


def test_a_threats_own_radius_is_used(config, tmp_path):
    out = tmp_path / "out"
    main(["compare", config(), "--out", str(out), "--images=20", "--threat=L2", "--threat.eps=0.5", "--suite=quick"])
    found = verdicts(out / "tiny")
    assert [(t["norm"], t["eps"]) for t in found["threats"]] == [("L2", 0.5)]


def test_two_configs_of_one_name_are_refused(config, tmp_path, fails):
    assert "same name: tiny, tiny" in fails("compare", config(), config())


def test_missing_data_name_file_folder_address_and_md5(config, tmp_path, fails):
    path = config(name="cifar", data="CIFAR10", network=TINY["network"])
    message = fails("train", "--config", path, "--data-root", str(tmp_path), "--out", str(tmp_path / "x"))
    for part in ("data_batch_1", str(tmp_path), "https://", "md5"):
        assert part in message
    assert not (tmp_path / "x").exists()


def test_a_word_between_colons_is_no_emoji(fails):
    assert fails("report", "a:nine:b") == "error: there is no folder a:nine:b"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("threats: [Linf]\nsuite: quik\n", "protocol.yaml: unknown suite 'quik'; did you mean 'quick'?"),
        ("", "protocol.yaml holds no settings: a protocol is a mapping such as 'threats: ...'"),
        ("a: [1,\n", "protocol.yaml is no YAML: while parsing a flow node expected the node content"),
    ],
)
def test_mistakes_in_a_protocol_file_name_the_file(text, says, tmp_path, fails):
    path = tmp_path / "protocol.yaml"
    path.write_text(text)
    assert says in fails("evaluate", "nowhere", "--protocol", str(path))


def test_a_users_own_suite(config, tmp_path, fails):
    suite = tmp_path / "mine.yaml"
    suite.write_text("name: mine\nattacks:\n- {class_path: PGD, init_args: {steps: 2}}\n")
    out = tmp_path / "out"
    main(["compare", config(), "--out", str(out), "--images=20", "--eps=0.1", "--suite", str(suite)])
    assert verdicts(out / "tiny")["suite"]["name"] == "mine"
    suite.write_text("name: mine\nattacks:\n- PGGD\n")
    assert "did you mean 'PGD'" in fails("compare", config(), "--suite", str(suite))


def test_list_shows_every_red_flag_and_what_it_does_to_the_number(capsys):
    main(["list"])
    rows = {words[0]: words for line in capsys.readouterr().out.splitlines() if len(words := line.split()) > 2}
    assert {key: (threshold, consequence) for key, _, threshold, consequence in flags.rows()} == {
        key: tuple(rows[key][1:3]) for key, *_ in flags.rows()
    }


@pytest.fixture
def protocol(tmp_path):
    path = tmp_path / "protocol.yaml"
    threats = [{"class_path": "L2", "init_args": {"eps": eps}} for eps in (0.5, "1/4")]
    path.write_text(yaml.safe_dump({"threats": threats, "suite": "habit", "images": 20, "seed": 3}))
    return path


def test_a_protocol_file_says_how_networks_are_attacked(config, protocol, tmp_path):
    out = tmp_path / "out"
    main(["compare", config(), "--out", str(out), "--protocol", str(protocol)])
    (found,) = sp.Run(out / "tiny").evaluations
    assert found.read(VerdictsRecord).protocol == to_config(
        sp.Protocol(threats=[sp.L2(0.25), sp.L2(0.5)], suite=sp.suite_named("habit"), images=20, seed=3)
    )
    width = found.read(VerdictsRecord).width
    assert f"width: {width}" in (out / "report.html").read_text()
    before = (found.path / "verdicts.json").read_text()
    main(["evaluate", str(out / "tiny"), "--protocol", str(protocol)])
    assert (found.path / "verdicts.json").read_text() == before  # the same evaluation, and so not done again


def test_mistakes_in_a_protocol_and_options_beside_it_are_refused(config, protocol, tmp_path, fails):
    command = ["compare", config(), "--out", str(tmp_path / "out"), "--protocol"]
    assert "leave out --eps, --images, or --protocol" in fails(*command, str(protocol), "--eps=0.1", "--images=9")
    assert "leave out --part, --seed, or --protocol" in fails(
        "evaluate", "nowhere", "--protocol", str(protocol), "--seed=0", "--part=test"
    )
    assert "no protocol file nowhere.yaml" in fails(*command, "nowhere.yaml")
    for written, said in (
        ("threats: [Linf]\nsuites: quick\n", "did you mean 'suite'"),
        ("threats: [Linf]\nsuite: quik\n", "did you mean 'quick'"),
        ("threats: [Linf, L2]\n", "differ in size only"),
        ("threats: [Linf]\nimages: 0\n", "images of Protocol must be a whole number from 1 on or None, not 0"),
        ("suite: quick\n", "Protocol needs 'threats'"),
    ):
        protocol.write_text(written)
        said_there = fails(*command, str(protocol))
        assert said in said_there
        assert str(protocol) in said_there or "quik" in written
    assert not (tmp_path / "out").exists()

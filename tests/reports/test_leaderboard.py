"""Which records does a leaderboard list, where, in which order, and which does it refuse, and why?"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from parsed_page import Page
from run_folders import reread

import spikeproof as sp
from spikeproof.choices import UserError
from spikeproof.cli import main
from spikeproof.configs import to_config
from spikeproof.reports import write_report
from spikeproof.reports.leaderboard import write_leaderboard
from spikeproof.runs import Run
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.records import EnergyRecord, Spent

MakeRun = Callable[..., Run]
ROBUSTBENCH = {
    "link",
    "name",
    "authors",
    "additional_data",
    "number_forward_passes",
    "dataset",
    "venue",
    "architecture",
    "eps",
    "clean_acc",
    "reported",
    "footnote",
    "unreliable",
}


@pytest.fixture
def sent(tmp_path: Path, make_run: MakeRun) -> Path:
    """A folder of three networks: two under one protocol, one of them without a number, and one under another."""
    network = {"architecture": {"class_path": "SmallCNN"}, "neuron": {"class_path": "LIF"}, "steps": 4}
    choices = {"network": {"class_path": "Network", "init_args": network | {"encoder": {"class_path": "Poisson"}}}}
    for name, robust in (("weak", (0.5, 0.2, 0.1)), ("strong", (0.8, 0.7, 0.6))):
        make_run(name, folder=f"sent/{name}", robust=robust, choices=choices)
    make_run("blind", folder="sent/deep/blind", status="unreliable", reason="No gradient.")
    make_run("other", folder="sent/other", eps=(4 / 255, 8 / 255, 16 / 255))
    told = {"name": "Strong et al.", "authors": "A. Strong", "venue": "ICLR 2027", "link": "https://example.org/a"}
    (tmp_path / "sent/strong/submission.json").write_text(json.dumps(told))
    return tmp_path / "sent"


def listed(folder: Path) -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return {entry["name"]: entry for one in found for entry in one["entries"]}


def test_each_protocol_has_a_page_the_best_first(sent: Path, tmp_path: Path) -> None:
    boards, refused = write_leaderboard([sent], tmp_path / "site")
    assert refused == []
    assert [[entry.name for entry in board.entries] for board in boards] in (
        [["other"], ["Strong et al.", "weak", "blind"]],
        [["Strong et al.", "weak", "blind"], ["other"]],
    )
    board = max(boards, key=lambda board: len(board.entries))
    page = Page(tmp_path / "site" / f"{board.name}.html")
    assert page.row("Strong et al.")[0] == "1"
    assert "60.0 %" in page.text
    assert "A. Strong, ICLR 2027" in page.text
    assert ("a", "href", "https://example.org/a") in page.attributes
    assert "No gradient." in " ".join(page.row("blind"))
    assert "The suite quick is weaker than standard" in page.text
    index = Page(tmp_path / "site" / "index.html")
    assert {f"{board.name}.html" for board in boards} < {
        value for tag, name, value in index.attributes if name == "href"
    }


def test_the_same_stands_as_json_under_the_keys_of_robustbench(sent: Path, tmp_path: Path) -> None:
    write_leaderboard([sent], tmp_path / "site")
    found = listed(tmp_path / "site")["Strong et al."]
    assert set(found) >= ROBUSTBENCH
    assert (found["T"], found["neuron"], found["coding"], found["architecture"]) == (4, "LIF", "Poisson", "SmallCNN")
    assert (found["clean_acc"], found["robust_acc"]["Linf(8/255)"], found["gradients"]) == ("90.00", "60.00", 40.0)
    assert listed(tmp_path / "site")["blind"]["unreliable"] is True
    assert listed(tmp_path / "site")["blind"]["robust_acc"] == {}


def test_the_json_of_a_report_is_listed_beside_the_runs_of_its_protocol(sent: Path, tmp_path: Path) -> None:
    write_report([Run(sent / "weak"), Run(sent / "strong")], tmp_path / "table" / "rows.json")
    boards, refused = write_leaderboard([sent / "other", tmp_path / "table"], tmp_path / "a")
    assert [len(boards), refused] == [2, []]
    boards, _ = write_leaderboard([sent / "deep", tmp_path / "table"], tmp_path / "b")
    assert [[entry.name for entry in board.entries] for board in boards] == [["strong", "weak", "blind"]]
    assert boards[0].entries[0].steps == 4


def counted(macs: float, acs: float) -> EnergyRecord:
    spent = Spent(
        effective_macs=0.0,
        effective_acs=0.0,
        dense=1000.0,
        macs_spikewise=macs,
        acs_spikewise=acs,
        macs_of_further_steps=0.0,
        activation_sparsity=0.5,
        nanojoules=1.0,
        nanojoules_spikewise=1.0,
    )
    return EnergyRecord(images=4, footprint=8, connection_sparsity=0.0, clean=spent, data={}, part="test")


def test_operations_and_the_frames_of_recordings_are_told(sent: Path, tmp_path: Path) -> None:
    """A pass of 30 + 70 operations and one of 50 + 90 take 120; six frames are six steps."""
    write_report([Run(sent / "strong")], tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    counts = [as_json(counted(macs, acs)) for macs, acs in ((30.0, 70.0), (50.0, 90.0))]
    frames = {
        "class_path": "EventFolder",
        "init_args": {"framing": {"class_path": "Framing", "init_args": {"steps": 6}}},
    }
    del row["network"]["init_args"]["steps"]
    (tmp_path / "rows.json").write_text(json.dumps([row | {"energy_by_seed": counts, "data": frames}]))
    write_leaderboard([tmp_path / "rows.json"], tmp_path / "site")
    (found,) = listed(tmp_path / "site").values()
    assert (found["operations"], found["T"]) == (120.0, 6)
    counts[1]["clean"].pop("acs_spikewise")
    (tmp_path / "rows.json").write_text(json.dumps([row | {"energy_by_seed": counts}]))
    with pytest.raises(UserError, match=r"rows\.json, row 1 .*energy_by_seed.*acs_spikewise"):
        write_leaderboard([tmp_path / "rows.json"], tmp_path / "other")


def test_only_runs_of_one_sender_are_seeds_of_one_network(make_run: MakeRun, tmp_path: Path) -> None:
    for sender in ("ada", "bo"):
        for seed in (0, 1):
            make_run("net", folder=f"sent/{sender}/seed{seed}", seed=seed, robust=(0.8, 0.6, 0.4 + 0.1 * seed))
    (board,), refused = write_leaderboard([tmp_path / "sent"], tmp_path / "site")
    assert [(entry.name, entry.seeds) for entry in board.entries] == [("net", 2), ("net", 2)]
    assert refused == []
    assert listed(tmp_path / "site")["net"]["robust_acc"]["Linf(8/255)"] == "45.00"


def damaged(rows: list[dict], **changes: object) -> str:
    return json.dumps([rows[0] | changes])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"robust": {"Linf(2/255)": {"value": 0.5, "low": 0.4, "high": 0.6}}}, "its protocol's of Linf"),
        ({"clean": {"value": 0.5, "low": 0.6, "high": 0.7}}, "no share with its interval"),
        ({"clean": {"value": 0.1, "low": 0.05, "high": 0.2}}, "more than the 0.1000 before it"),
        ({"protocol_facets": None}, "it was not evaluated"),
        ({"protocol_facets": {"suite": "standard"}}, "protocol_facets lacks threats"),
        ({"status": "unreliable"}, "has robust accuracies all the same"),
        ({"seeds": "three"}, "seeds is 'three', and not list"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_name(changes: dict, said: str, sent: Path, tmp_path: Path) -> None:
    rows = json.loads(write_report([Run(sent / "strong")], tmp_path / "rows.json").read_text())
    (tmp_path / "bad.json").write_text(damaged(rows, **changes))
    boards, refused = write_leaderboard([sent / "weak", tmp_path / "bad.json"], tmp_path / "site")
    assert [entry.name for board in boards for entry in board.entries] == ["weak"]
    assert refused[0].source.endswith("bad.json, row 1 ('strong')")
    assert said in refused[0].reason
    assert said in Page(tmp_path / "site/index.html").text


def test_runs_that_do_not_fit_are_refused_and_the_others_listed(
    sent: Path, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("waiting", folder="sent/waiting", robust=None)
    make_run("changed", folder="sent/changed")
    reread(Run(sent / "changed"), "verdicts.json", clean_accuracy={"value": 0.99, "low": 0.9, "high": 1.0})
    make_run("linked", folder="sent/linked")
    (sent / "linked/submission.json").write_text(json.dumps({"link": "javascript:alert(1)"}))
    (sent / "notes.json").write_text("{}")
    main(["leaderboard", str(sent), "--out", str(tmp_path / "site")])
    said = " ".join(capsys.readouterr().out.split())
    for name, reason in {
        "waiting": "it was not evaluated",
        "changed": "clean_accuracy is 99.0",
        "linked": "link is 'javascript:alert(1)', and no address of https",
        "notes.json": "is no report in JSON",
    }.items():
        assert f"refused: {sent / name}: " in said
        assert reason in said
    assert "4 networks under 2 protocols, 4 records refused" in said
    assert "javascript" not in [
        value for _, name, value in Page(tmp_path / "site/index.html").attributes if name == "href"
    ]


def test_only_what_was_evaluated_by_the_protocol_that_is_asked_for(
    make_run: MakeRun, tmp_path: Path, fails: Callable[..., str]
) -> None:
    protocol = sp.Protocol(threats=sp.Linf(0.1), suite="quick")
    other = sp.Protocol(threats=sp.Linf(0.2), suite="quick")
    for name, one in (("own", protocol), ("foreign", other), ("old", None)):
        make_run(name, folder=f"sent/{name}", protocol=one and to_config(one))
    boards, refused = write_leaderboard([tmp_path / "sent"], tmp_path / "site", protocol=protocol)
    assert [entry.name for board in boards for entry in board.entries] == ["own"]
    reasons = {Path(one.source).name: one.reason for one in refused}
    assert reasons == {
        "foreign": "it was evaluated by another protocol: other threats",
        "old": "it was evaluated by another protocol: its protocol is not written down",
    }
    (tmp_path / "protocol.yaml").write_text("threats: [{class_path: Linf, init_args: {eps: 0.3}}]\nsuite: quick\n")
    asked = ["--protocol", str(tmp_path / "protocol.yaml"), "--out", str(tmp_path / "none")]
    assert "there is nothing to list, of 3 records" in fails("leaderboard", str(tmp_path / "sent"), *asked)
    assert not (tmp_path / "none").exists()


def test_a_suite_for_a_claim_has_no_warning(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("claimed", folder="sent/claimed")
    reread(run, "verdicts.json", suite=run.read_json("verdicts.json")["suite"] | {"name": "standard"})
    (board,), _ = write_leaderboard([tmp_path / "sent"], tmp_path / "site")
    assert "is weaker than" not in Page(tmp_path / "site" / f"{board.name}.html").text


def test_pages_are_self_contained_and_each_table_has_a_caption(sent: Path, tmp_path: Path) -> None:
    write_leaderboard([sent], tmp_path / "site")
    for file in (tmp_path / "site").glob("*.html"):
        page = Page(file)
        assert not [
            value for tag, name, value in page.attributes if name == "src" or (tag == "link" and name == "href")
        ]
        assert "Content-Security-Policy" in page.source
        assert page.source.count("<caption") == page.source.count("<table")
        assert ("div", "tabindex", "0") in page.attributes  # a wide table is scrolled by the keyboard


def test_a_missing_folder_is_named(tmp_path: Path, fails: Callable[..., str]) -> None:
    assert f"there is no file or folder {tmp_path / 'nowhere'}" in fails("leaderboard", str(tmp_path / "nowhere"))

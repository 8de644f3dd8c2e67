"""Does a zoo give back the network that was put in, and nothing that its index does not name?"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.runs.records import VerdictsRecord
from spikeproof.whole_files import sha256_of
from spikeproof.zoo import addresses
from spikeproof.zoo.taking import taken

SHIPPED = {"digits-adversarial", "digits-gaussian-noise", "digits-standard", "digits-trades"}


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> sp.Run:
    """One of the networks that are installed, under another name."""
    return taken("digits-standard", tmp_path_factory.mktemp("runs") / "small-net")


@pytest.fixture
def zoo(run: sp.Run, tmp_path: Path) -> Path:
    sp.write_zoo([run], tmp_path / "zoo")
    return tmp_path / "zoo"


@pytest.fixture
def site(zoo: Path) -> Iterator[str]:
    """The address of the same zoo, behind a server of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(zoo))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.json"
        server.shutdown()
        thread.join()


def changed(zoo: Path, change: Callable[[dict], None]) -> None:
    index = json.loads((zoo / "index.json").read_text())
    change(index)
    (zoo / "index.json").write_text(json.dumps(index))


def test_the_network_that_was_put_in_comes_out(run: sp.Run, zoo: Path, site: str) -> None:
    x = torch.rand(3, 1, 8, 8)
    wanted = sp.load_model(run.path)(x)
    for index in (zoo, zoo / "index.json", str(zoo), site):
        assert torch.equal(sp.load("small-net", index=index)(x), wanted)


def test_the_card_says_what_the_run_says(run: sp.Run, zoo: Path, site: str) -> None:
    (card,) = sp.cards(site)
    verdicts = run.evaluations[0].read(VerdictsRecord)
    assert (card,) == sp.cards(zoo, sha256=sha256_of(zoo / "index.json"))
    assert card.name == "small-net"
    assert card.about == "Standard · SmallCNN · LIF · Digits"
    assert (card.steps, card.images, card.status) == (4, verdicts.images, "ok")
    assert card.clean_accuracy == verdicts.clean_accuracy
    assert card.robust_accuracy == {threat.label: threat.robust_accuracy for threat in verdicts.threats}
    assert card.recipe == run.record.config
    assert card.weights_sha256 == verdicts.network_sha256
    assert card.commit == run.record.environment.versions["commit"]


def test_a_run_folder_is_made_once_and_keeps_its_verdicts(zoo: Path, tmp_path: Path) -> None:
    found = taken("small-net", tmp_path / "mine", index=zoo)
    assert found.evaluations[0].read(VerdictsRecord).suite.name == "standard"
    assert "card.json" not in found
    before = (tmp_path / "mine/run.json").stat().st_mtime_ns
    taken("small-net", tmp_path / "mine", index=zoo)
    assert (tmp_path / "mine/run.json").stat().st_mtime_ns == before
    (tmp_path / "mine/model.safetensors").write_bytes(b"others")
    with pytest.raises(sp.UserError, match="mine is there, and is not the network 'small-net'"):
        taken("small-net", tmp_path / "mine", index=zoo)


@pytest.mark.parametrize("file", ["card.json", "run.json", "model.json", "model.safetensors"])
def test_a_file_that_is_not_of_its_digest_is_refused_before_any_is_written(
    file: str, zoo: Path, site: str, tmp_path: Path
) -> None:
    content = (zoo / "small-net" / file).read_bytes()
    (zoo / "small-net" / file).write_bytes(content[:-1] + b"x")
    for index in (zoo, site):
        with pytest.raises(sp.UserError, match=rf"{file}' is not what its index names: its sha256 is "):
            taken("small-net", tmp_path / "mine", index=index)
    assert not (tmp_path / "mine").exists()


def test_a_file_longer_than_the_index_says_is_not_read_to_its_end(zoo: Path, site: str, tmp_path: Path) -> None:
    with (zoo / "small-net/model.safetensors").open("ab") as stream:
        stream.write(b"x" * 1000)
    for index, said in ((zoo, "has more than"), (site, "gives more than")):
        with pytest.raises(sp.UserError, match=rf"model.safetensors' {said} [\d,]+ bytes; it is not read"):
            taken("small-net", tmp_path / "mine", index=index)


def test_an_index_that_takes_too_long_is_given_up(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "SECONDS", -1.0)
    with pytest.raises(sp.UserError, match=r"gave [\d,]+ bytes in -1 s, and not all; it is not read"):
        sp.cards(site)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index.update(schema=2), "its schema is 2, and this spikeproof reads 1"),
        (lambda index: index.update(mirror="x"), "Index has no field mirror"),
        (lambda index: index["networks"].update({"../up": index["networks"]["small-net"]}), "names '../up'"),
        (
            lambda index: index["networks"]["small-net"].update({"../x.json": {"bytes": 1, "sha256": "0"}}),
            "names '../x.json', which no network has",
        ),
        (lambda index: index["networks"]["small-net"].pop("model.json"), "the network 'small-net' has no model.json"),
        (lambda index: index["networks"]["small-net"]["card.json"].update(bytes=1 << 40), "1,099,511,627,776 bytes"),
        (lambda index: index["networks"]["small-net"]["card.json"].update(bytes="9"), "bytes is '9', and not int"),
        (lambda index: index["networks"]["small-net"]["card.json"].update(sha256="0" * 64), "not '0000"),
    ],
)
def test_an_index_that_cannot_be_is_refused(change: Callable[[dict], None], said: str, zoo: Path) -> None:
    changed(zoo, change)
    with pytest.raises(sp.UserError, match=said):
        sp.cards(zoo)


def test_an_index_of_another_digest_is_refused(zoo: Path) -> None:
    with pytest.raises(
        sp.UserError, match=f"index.json' is not what its index names: its sha256 is .*, not '{'1' * 64}'"
    ):
        sp.load("small-net", index=zoo, sha256="1" * 64)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("http://example.org/index.json", "networks come over https, or from files"),
        ("ftp://example.org/index.json", "networks come over https, or from files"),
        ("file:///etc/hostname", "networks come over https, or from files"),
        ("http://127.0.0.1:9/index.json", "cannot be read"),
        ("nowhere/index.json", "cannot be read: .*No such file"),
    ],
)
def test_addresses_that_are_not_read(index: str, said: str) -> None:
    with pytest.raises(sp.UserError, match=said):
        sp.cards(index)


def test_an_unknown_name_gets_the_nearest(fails: Callable[..., str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no network 'digits-trade'; did you mean 'digits-trades'?" in fails("evaluate", "zoo:digits-trade")
    with pytest.raises(sp.UserError, match="there is no network 'digits-mart'; "):
        sp.load("digits-mart")
    assert list(tmp_path.iterdir()) == []


def test_runs_that_no_zoo_can_show_are_refused(run: sp.Run, zoo: Path, tmp_path: Path, fails) -> None:
    assert "is there already: a zoo is written into a new folder" in fails("zoo", str(run.path), "--out", str(zoo))
    assert "say with --out which new folder" in fails("zoo", str(run.path))
    with pytest.raises(sp.UserError, match="have a name each"):
        sp.write_zoo([run, run], tmp_path / "twice")
    taken("small-net", tmp_path / "plain", index=zoo, only=("run.json", "model.json", "model.safetensors"))
    with pytest.raises(sp.UserError, match="was not evaluated under the suite standard"):
        sp.write_zoo([sp.Run(tmp_path / "plain")], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_line_lists_takes_and_writes(run: sp.Run, zoo: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKEPROOF_ZOO", str(zoo))
    main(["zoo"])
    assert "small-net" in capsys.readouterr().out
    main(["zoo", "--json"])
    assert json.loads(capsys.readouterr().out)["networks"][0]["name"] == "small-net"
    main(["zoo", "zoo:small-net", "--out", "mine"])
    assert sp.Run("mine/small-net").record.name == "standard"
    main(["zoo", "mine/small-net", "--out", "again"])
    assert (tmp_path / "again/index.json").read_text() == (zoo / "index.json").read_text()


def test_those_that_are_installed_are_what_their_cards_say(digits) -> None:
    found = {card.name: card for card in sp.cards()}
    assert set(found) == SHIPPED
    assert sum(path.stat().st_size for path in Path(addresses.__file__).parent.rglob("networks/**/*.*")) < 1.5e6
    x, y = digits[2], digits[3]
    for name, card in found.items():
        model = sp.load(name)
        right = (sp.predict(model, x).argmax(1) == y).float().mean()
        assert right == pytest.approx(card.clean_accuracy.value)
        assert (card.suite, card.images, card.status) == ("standard", len(y), "ok")
        assert "dirty" not in card.commit
    assert found["digits-gaussian-noise"].certified["L2"] > 0


def test_one_that_is_installed_is_evaluated_by_name(tmp_path: Path, monkeypatch, capsys) -> None:
    """The evaluation itself takes minutes and has its own tests: what it is given is looked at."""
    given: list[sp.Run] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("spikeproof.cli.commands.evaluate_run", lambda run, *_, **__: given.append(run))
    main(["evaluate", "zoo:digits-trades", "--eps", "0.05,0.1", "--suite", "standard"])
    assert [run.path for run in given] == [Path("runs/digits-trades")]
    assert sp.load_model(given[0].path)(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    (card,) = [card for card in sp.cards() if card.name == "digits-trades"]
    assert f"{100 * card.robust_accuracy['Linf 0.1'].value:.1f}" in capsys.readouterr().out


def test_the_example_of_the_page_runs(capsys) -> None:
    page = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text()
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], {})
    said = capsys.readouterr().out
    clean, attacked = map(float, re.search(r"right: ([\d.]+)%, under PGD-10: ([\d.]+)%", said).groups())
    assert clean > attacked > 50
    assert "digits-standard" in said

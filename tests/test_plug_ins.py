"""Does the package of docs/plug_ins.md, installed as the page says, do what the page says?"""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import spikeproof as sp
from spikeproof import registry
from spikeproof.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "plug_ins.md").read_text()
FILES = re.findall(r"```(?:toml|python)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
TINY = (
    "--data.train_images",
    "200",
    "--network.steps",
    "2",
    "--training.epochs",
    "1",
    "--training.selection.images",
    "8",
)


def forget() -> None:
    registry.plug_ins.cache_clear()
    registry.plugged_in.cache_clear()


def install(source: Path, target: Path) -> None:
    """As pip does it, without the network."""
    offline = ("--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's package, and one that cannot be imported, installed into one folder."""
    place = tmp_path_factory.mktemp("plug_ins")
    for name, content in FILES:
        for folder, said in (("whole", content), ("broken", content.replace("bell", "gong"))):
            (place / folder).mkdir(exist_ok=True)
            broken = "raise RuntimeError('no\\nbrass')\n" if folder == "broken" and name.endswith(".py") else said
            (place / folder / name.replace("bell", "gong" if folder == "broken" else "bell")).write_text(broken)
    install(place / "whole", place / "installed")
    install(place / "broken", place / "installed")
    return place / "installed"


@pytest.fixture
def installed(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(packages)
    importlib.invalidate_caches()
    forget()
    yield
    forget()
    sys.modules.pop("spikeproof_bell", None)


def test_the_package_is_as_short_as_the_page_says() -> None:
    assert [name for name, _ in FILES] == ["pyproject.toml", "spikeproof_bell.py"]
    assert sum(len(content.strip().splitlines()) for _, content in FILES) < 35


def test_the_list_names_both_packages_and_why_one_is_left_out(installed: None, capsys) -> None:
    main(["list"])
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Bell +1 / .*? \[spikeproof-bell 0\.1\.0\]", said)
    assert "spikeproof-bell 0.1.0, bell (spikeproof_bell): Bell" in said
    assert "spikeproof-gong 0.1.0, gong (spikeproof_gong): left out, RuntimeError: no brass" in said
    assert said.count("[spikeproof-bell 0.1.0]") == 1
    assert re.search(r"settings Framing .*Recipe ", said)


def test_a_network_is_trained_with_it(installed: None, tmp_path: Path) -> None:
    config = ["--config", "demo/standard", "--out", str(tmp_path / "run"), *TINY]
    with pytest.warns(
        UserWarning, match=r"plug-in gong \(spikeproof_gong\) of spikeproof-gong 0.1.0 cannot be imported"
    ):
        main(["train", *config, "--network.neuron.gradient", "Bell", "--network.neuron.gradient.sharpness", "2"])
    written = sp.Run(tmp_path / "run").record.config["network"]["init_args"]["neuron"]["init_args"]["gradient"]
    assert written["class_path"] == "spikeproof_bell.Bell"
    assert written["init_args"]["sharpness"] == 2
    assert sp.load_model(tmp_path / "run")(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_without_the_entry_point_it_needs_trust(packages: Path, monkeypatch, fails, tmp_path: Path) -> None:
    for file in packages.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    config = ["--config", "demo/standard", "--out", str(tmp_path / "run"), *TINY]
    chosen = [*config, "--network.neuron.gradient", "spikeproof_bell.Bell"]
    assert "'spikeproof_bell.Bell' is code from outside spikeproof" in fails("train", *chosen)
    main(["train", *chosen, "--trust"])
    assert "is code from outside" in fails("evaluate", str(tmp_path / "run"), "--eps", "0.1")
    sys.modules.pop("spikeproof_bell", None)

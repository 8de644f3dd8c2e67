"""Does the wheel work where there is no checkout? `make test-wheel`, or `python -m tests.install [--demo]`.

Builds sdist and wheel, installs the wheel into a new virtual environment outside the checkout, and uses it there as a
reader of the README would. The environment sees the packages of the running Python: nothing is downloaded.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
IN_WHEEL = (
    "spikeproof/py.typed",
    "spikeproof/shipped/digits/trades.yaml",
    "spikeproof/shipped/suites/frames.yaml",
    "spikeproof/zoo/networks/digits-trades/model.safetensors",
    "spikeproof/reports/forms/leaderboard.html",
)
IN_SDIST = (
    "tests/test_readme.py",
    "docs/architecture.md",
    "docs/report.png",
    "CHANGELOG.md",
    "Makefile",
    "results/cifar10_small.json",
)
BUILD = "import sys; from setuptools import build_meta as b; to = sys.argv[1]; b.build_sdist(to); b.build_wheel(to)"
NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.install", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="run spikeproof demo too: two minutes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = built(place / "dist")
        spikeproof = installed(wheel, place / "venv")
        used(spikeproof, place / "elsewhere", options.demo)


def built(folder: Path) -> Path:
    """The wheel; what has to be in it, and in the sdist, is."""
    folder.mkdir()
    copy = folder / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):  # setuptools leaves its traces where it builds
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    run([sys.executable, "-c", BUILD, str(folder)], copy)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    inside = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in IN_WHEEL if name not in inside], inside
    assert not [name for name in inside if not name.startswith("spikeproof")], inside
    with tarfile.open(sdist) as archive:
        packed = [name.partition("/")[2] for name in archive.getnames()]
    assert not [name for name in IN_SDIST if name not in packed], packed
    print(f"{wheel.name}: {len(inside)} files; {sdist.name}: {len(packed)}")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """The command of a new environment that sees the packages of this Python, but not its spikeproof."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], folder)
    return folder / "bin" / "spikeproof"


def used(spikeproof: Path, folder: Path, demo: bool) -> None:
    """What a person types first."""
    folder.mkdir()
    python = spikeproof.with_name("python")
    where = run([str(python), "-c", "import spikeproof; print(spikeproof.__file__)"], folder)
    assert spikeproof.parents[1] in Path(where.strip()).parents, where
    assert "digits/trades" in run([str(spikeproof), "configs"], folder)
    assert "digits-trades" in run([str(spikeproof), "zoo", "digits-trades"], folder)
    started = time.monotonic()
    run([str(spikeproof), "--version"], folder)
    print(f"spikeproof --version: {time.monotonic() - started:.2f} s")
    quick = ("--training.epochs", "1", "--out", "trained")
    run([str(spikeproof), "train", "--config", "demo/standard", *quick], folder)
    (folder / "mynets.py").write_text(NETWORK)
    data = ("--data", "Digits", "--suite", "quick", "--eps", "0.1", "--images", "50", "--out", "mine")
    said = run([str(spikeproof), "evaluate", "--model", "mynets:build", *data], folder)
    assert "build" in said or "mine" in said, said
    run([str(spikeproof), "report", "mine", "--out", "mine.html"], folder)
    assert "mynets:build" in (folder / "mine.html").read_text(encoding="utf-8")
    assert "2 networks" in run([str(spikeproof), "leaderboard", "mine", "runs", "--out", "site"], folder)
    if demo:
        started = time.monotonic()
        run([str(spikeproof), "demo"], folder)
        page = (folder / "runs" / "demo" / "report.html").read_text(encoding="utf-8")
        assert all(name in page for name in ("standard", "Gaussian noise", "SR", "adversarial", "TRADES"))
        print(f"spikeproof demo: {time.monotonic() - started:.0f} s")
    print("the wheel works outside the checkout")


def run(words: list[str], folder: Path) -> str:
    """What a command prints; it is shown with its errors if it fails."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(words, cwd=folder, env=plain, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(words)}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()

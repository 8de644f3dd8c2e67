"""Do verdicts say of themselves what they found, in a terminal, in a notebook and as a table?"""

import builtins
from typing import Any

import pytest
import torch
from torch import Tensor

import spikeproof as sp


@pytest.fixture(scope="module")
def found(trained: sp.SpikingNetwork, digits: tuple[Tensor, ...]) -> sp.Verdicts:
    return sp.evaluate(trained, (digits[2][:40], digits[3][:40]), "0.05,0.1", suite="quick")


def test_in_a_terminal(found: sp.Verdicts) -> None:
    first, clean, small, large, *remarks = str(found).splitlines()
    assert first.startswith("40 images, suite quick, none of ")
    clean_share, share = found.clean_accuracy(), found.robust_accuracy(1)
    assert share is not None
    assert clean.split("%")[0].split() == ["clean", f"{100 * clean_share.value:.1f}"]
    assert small.split()[:2] == ["Linf", "0.05"]
    assert f"{100 * share.value:.1f} % [{100 * share.low:.1f}-{100 * share.high:.1f}]" in large
    assert "For development, not a claim: take the suite standard." in remarks


def test_in_a_notebook(found: sp.Verdicts) -> None:
    page = found._repr_html_()
    assert page.startswith("<table><caption>40 images, suite quick")
    assert page.count("<tr>") == 3
    assert "not a claim" in page


def test_as_a_picture(found: sp.Verdicts) -> None:
    axes = found.plot()
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [0, 0.05, 0.1]
    assert line.get_ydata()[0] == 100 * found.clean_accuracy().value


def test_as_a_table(found: sp.Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **named: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(sp.UserError, match=r"pip install 'spikeproof\[notebook\]'"):
            found.to_frame()
    frame = pytest.importorskip("pandas") and found.to_frame()
    assert list(frame.columns) == ["threat", "eps", "value", "low", "high"]
    assert frame["value"][0] == found.clean_accuracy().value


def test_low_clean_accuracy_says_where_normalisation_belongs(trained: sp.SpikingNetwork) -> None:
    x, y = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    assert "adapt(model, mean=..., std=...)" in str(sp.evaluate(trained, (x, y), 0.1, suite="quick"))

"""Does training that runs out of memory stop with what would fit, and keep what it had?"""

from dataclasses import dataclass, field

import pytest
import torch

import spikeproof as sp
from spikeproof.objectives import Objective
from spikeproof.runs import Run
from spikeproof.training.validation import validate
from tests.training.test_training_loop import recipe

CPU_SAYS = "[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory"),
    "cpu": RuntimeError(CPU_SAYS),
    "python": MemoryError(),
    "other": RuntimeError("something else"),
}


@dataclass(frozen=True, kw_only=True)
class Large(Objective):
    """Standard training that has memory for `room` images from call number `calls` on."""

    room: int
    error: str
    from_call: int = 5
    calls: list = field(default_factory=list, compare=False)

    def __call__(self, model, x, y):
        self.calls.append(len(x))
        if len(self.calls) >= self.from_call and len(x) > self.room:
            raise ERRORS[self.error]
        return {"cross_entropy": torch.nn.functional.cross_entropy(model(x), y)}


@pytest.mark.parametrize("error", ["cuda", "cpu", "python"])
def test_what_fits_is_said_and_the_checkpoint_kept(tmp_path, error):
    large = Large(room=10, error=error)
    with pytest.raises(sp.UserError, match=r"out of memory in a step of 32 images; batches of 8 would fit.*batch to 8"):
        sp.train(recipe(objective=large), tmp_path / "a")
    assert large.calls == [32] * 5 + [16, 8]
    tensors, facts = Run(tmp_path / "a").read_tensors("checkpoint.safetensors")
    assert len(facts["metrics"]) == 1
    assert all(t.isfinite().all() for t in tensors.values())


def test_where_nothing_fits_it_says_so(tmp_path):
    with pytest.raises(sp.UserError, match="two images do not fit either"):
        sp.train(recipe(objective=Large(room=1, error="python", from_call=1)), tmp_path / "a")


def test_another_error_is_no_lack_of_memory(tmp_path):
    with pytest.raises(RuntimeError, match="something else"):
        sp.train(recipe(objective=Large(room=1, error="other")), tmp_path / "a")


def test_validation_goes_on_in_smaller_batches(monkeypatch):
    model, part = recipe().build().eval(), recipe().data.part("validation")
    selection = sp.Selection(threat=sp.Linf(0.1), attack=sp.PGD(steps=1), images=48)
    whole, run, sizes = validate(model, part, selection, seed=0), sp.Attack.run, []

    def small(self, model, x, *args, **kwargs):
        sizes.append(len(x))
        if len(x) > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, model, x, *args, **kwargs)

    monkeypatch.setattr(sp.Attack, "run", small)
    assert validate(model, part, selection, seed=0) == whole
    assert sizes == [48, 24, 12, 12, 12, 12]


def test_validation_says_where_a_single_image_does_not_fit(monkeypatch):
    def none(self, *args, **kwargs):
        raise RuntimeError("CUDNN_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(sp.Attack, "run", none)
    selection = sp.Selection(images=3)
    with pytest.raises(sp.UserError, match="out of memory in the attack that validates the epoch"):
        validate(recipe().build().eval(), recipe().data.part("validation"), selection, seed=0)

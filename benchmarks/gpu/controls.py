"""Are honest networks `ok` on this device, and dishonest ones flagged, whatever is switched on outside?

TF32 is on for all of it, as users have it. Honest networks are also judged in batches of 1 to 512 with their gradients
in bfloat16. Judging is in full float32 all the same, so none of this may change a verdict.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.scene import Scene
from spikeproof.attacks import FGSM, PGD, Square
from spikeproof.controls import CONTROLS, Control, Judged, Trained, judged_by
from spikeproof.evaluation import Suite

WIDTHS = (512, 64, 7, 1)
BRIEF = Suite(name="brief", attacks=(FGSM(), PGD(steps=10)))
# The flags of this one take attacks of their own, with up to 500 steps.
SEARCHING = Suite(name="searching", attacks=(FGSM(), PGD(steps=20), Square(queries=500)), examined=24)


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """Every control in every setting; raises `AssertionError` at the end where one was not told apart."""
    missed = []
    with tempfile.TemporaryDirectory() as folder, tf32_everywhere():
        trained = Trained(Path(folder), scene.device, epochs=1 if scene.tiny else 12)
        for setting in settings(tiny=scene.tiny):
            scene.clock.check()
            found = judged_in(*setting, trained, scene)
            if not found["right"]:
                missed.append(found["control"])
            yield found
    assert not missed, f"the evaluation was wrong about {', '.join(dict.fromkeys(missed))}"


def settings(*, tiny: bool) -> Iterator[tuple[Control, Suite, int | None]]:
    """A control, the suite that judges it, and the batch (None: the usual one, and gradients in float32)."""
    honest = [control for control in CONTROLS if control.honest][: 1 if tiny else None]
    yield from ((control, BRIEF, width) for width in WIDTHS for control in honest)
    hidden = [control for control in CONTROLS if not control.honest]
    if tiny:  # one that needs no attack to be seen
        yield from ((control, BRIEF, None) for control in hidden if control.name == "a detached input")
        return
    yield from ((control, SEARCHING, None) for control in (*hidden, *honest))


def judged_in(control: Control, suite: Suite, width: int | None, trained: Trained, scene: Scene) -> dict[str, Any]:
    images = 4 if scene.tiny else 24 if width == 1 else 60
    lowered = torch.autocast(scene.device.type, torch.bfloat16, enabled=width is not None)
    with lowered:
        found: Judged = judged_by(suite, control, trained, images, batch=width)
    return {
        "control": control.name,
        "honest": control.honest,
        "batch": width,
        "gradients": "float32" if width is None else "bfloat16",
        "status": found.verdicts.diagnosis.status,
        "flags_raised": [flag.key for flag in found.verdicts.flags if flag.raised],
        "right": found.right,
    }


@contextmanager
def tf32_everywhere() -> Iterator[None]:
    """Products and convolutions in TF32 inside the block."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]

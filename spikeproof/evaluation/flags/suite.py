"""What do the suite's own verdicts tell about its attacks?"""

from collections.abc import Sequence
from typing import NamedTuple

from spikeproof.attacks import Attack
from spikeproof.evaluation.flags.flag import Measured, check
from spikeproof.evaluation.flags.statistics import FOUND_FIRST, beyond
from spikeproof.evaluation.flags.trials import name_of


class Credited(NamedTuple):
    """The members of a suite, and for each image that is classified right the index of that which broke it, or -1."""

    members: Sequence[Attack]
    broken_by: Sequence[int]

    def controls(self) -> range:
        """The members after the last one that takes gradients; none where there is no such one."""
        gradients = [index for index, attack in enumerate(self.members) if attack.white_box]
        return range(gradients[-1] + 1, len(self.members)) if gradients else range(0)


@check(
    Credited,
    key="controls-beat-gradients",
    name="controls found more than gradients",
    threshold=FOUND_FIRST,
    spoils=False,
    number="share that the suite's own controls (Square, transfer) broke after all attacks with gradients",
    meaning="A black-box control alone broke these samples, after all attacks with gradients. They are counted as "
    "broken. But there must be stronger gradients, and more such samples.",
)
def controls_beat_gradients(suite: Credited) -> Measured | None:
    controls, images = suite.controls(), len(suite.broken_by)
    if not (controls and images):
        return None
    names = dict.fromkeys(name_of(suite.members[index]) for index in controls)
    return Measured(
        number=sum(index in controls for index in suite.broken_by) / images,
        details={"samples": images},
        chance=beyond(FOUND_FIRST, images),
        ran=f"Controls: {' and '.join(names)}.",
    )

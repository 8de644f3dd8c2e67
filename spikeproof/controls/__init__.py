"""Does the evaluation see what it must? Networks that hide from attacks, and honest ones, each judged by it.

The hiding ones have to be flagged, the honest ones must not be. They are trained on the digits, in a few minutes.
"""

from spikeproof.controls.hiding import HIDING, Amplified, OfTheBatch, Outside, Stateful, with_layers
from spikeproof.controls.honest import HONEST
from spikeproof.controls.judging import CONTROLS, Judged, judged, judged_by
from spikeproof.controls.training import THREAT, Control, Trained

__all__ = [
    "CONTROLS",
    "HIDING",
    "HONEST",
    "THREAT",
    "Amplified",
    "Control",
    "Judged",
    "OfTheBatch",
    "Outside",
    "Stateful",
    "Trained",
    "judged",
    "judged_by",
    "with_layers",
]

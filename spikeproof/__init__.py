"""Train, attack and compare adversarially robust spiking neural networks under one protocol.

Everything that can be chosen (`Digits`, `VGG`, `LIF`, `TRADES`, `PGD`, `Linf`, ...) is a frozen dataclass; everything
that is done (`train`, `evaluate`, ...) is a function; a model is a plain module from images in [0, 1] to logits.
"""

from spikeproof import attacks, conversion, data, evaluation, objectives, snn, training
from spikeproof.attacks import *  # noqa: F403
from spikeproof.choices import UserError as UserError
from spikeproof.comparison import compare as compare
from spikeproof.conversion import *  # noqa: F403
from spikeproof.data import *  # noqa: F403
from spikeproof.evaluation import *  # noqa: F403
from spikeproof.objectives import *  # noqa: F403
from spikeproof.runs import Run as Run
from spikeproof.runs.weights import load_model as load_model
from spikeproof.snn import *  # noqa: F403
from spikeproof.training import *  # noqa: F403

__version__ = "0.1.0"
_ROOMS = (attacks, conversion, data, evaluation, objectives, snn, training)
__all__ = sorted(
    {"UserError", "compare", "Run", "load_model", "write_report", *(name for room in _ROOMS for name in room.__all__)}
)


def __getattr__(name: str) -> object:
    if name == "write_report":  # pages and figures are loaded when a report is written
        from spikeproof.reports import write_report

        return write_report
    raise AttributeError(f"module 'spikeproof' has no attribute {name!r}")

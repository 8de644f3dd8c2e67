"""What does spikeproof give at its top? The names of every room; importing this imports torch."""

from spikeproof import attacks, certificates, conversion, data, evaluation, exchange, objectives, snn, training, zoo
from spikeproof.attacks import *  # noqa: F403
from spikeproof.certificates import *  # noqa: F403
from spikeproof.choices import UserError as UserError
from spikeproof.comparison import compare as compare
from spikeproof.conversion import *  # noqa: F403
from spikeproof.data import *  # noqa: F403
from spikeproof.evaluation import *  # noqa: F403
from spikeproof.exchange import *  # noqa: F403
from spikeproof.objectives import *  # noqa: F403
from spikeproof.runs import Run as Run
from spikeproof.runs.weights import load_model as load_model
from spikeproof.snn import *  # noqa: F403
from spikeproof.training import *  # noqa: F403
from spikeproof.zoo import *  # noqa: F403

ROOMS = (attacks, certificates, conversion, data, evaluation, exchange, objectives, snn, training, zoo)
__all__ = sorted({"UserError", "compare", "Run", "load_model", *(name for room in ROOMS for name in room.__all__)})

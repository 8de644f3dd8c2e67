"""What is a spiking network made of? Encoders, neurons with their gradient paths, bodies, readouts, views."""

from spikeproof.snn.architectures import *  # noqa: F403
from spikeproof.snn.architectures import __all__ as _architectures
from spikeproof.snn.encoders import *  # noqa: F403
from spikeproof.snn.encoders import __all__ as _encoders
from spikeproof.snn.filters import *  # noqa: F403
from spikeproof.snn.filters import __all__ as _filters
from spikeproof.snn.foreign import adapt
from spikeproof.snn.gradients import *  # noqa: F403
from spikeproof.snn.gradients import __all__ as _gradients
from spikeproof.snn.memory import *  # noqa: F403
from spikeproof.snn.memory import __all__ as _memory
from spikeproof.snn.network import *  # noqa: F403
from spikeproof.snn.network import __all__ as _network
from spikeproof.snn.neurons import *  # noqa: F403
from spikeproof.snn.neurons import __all__ as _neurons
from spikeproof.snn.paths import *  # noqa: F403
from spikeproof.snn.paths import __all__ as _paths
from spikeproof.snn.readouts import *  # noqa: F403
from spikeproof.snn.readouts import __all__ as _readouts
from spikeproof.snn.record import *  # noqa: F403
from spikeproof.snn.record import __all__ as _record
from spikeproof.snn.stateful import *  # noqa: F403
from spikeproof.snn.stateful import __all__ as _stateful
from spikeproof.snn.views import *  # noqa: F403
from spikeproof.snn.views import __all__ as _views

__all__ = [
    *_architectures,
    *_encoders,
    *_filters,
    *_gradients,
    *_memory,
    *_network,
    *_neurons,
    *_paths,
    *_readouts,
    *_record,
    *_stateful,
    *_views,
    "adapt",
]

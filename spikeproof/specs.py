"""Where were choices, and how they are written down, before? Old names of `choices` and `configs`."""

from spikeproof.choices import Pixels as Pixels
from spikeproof.choices import UserError as UserError
from spikeproof.choices import nearest as nearest
from spikeproof.choices import pixels as pixels
from spikeproof.choices import short as short
from spikeproof.configs import from_config as from_config
from spikeproof.configs import to_config as to_config

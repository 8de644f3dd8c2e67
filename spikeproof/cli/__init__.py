"""What can be done from a terminal? ``spikeproof COMMAND --option value``; one typed function for each command."""

from spikeproof.cli.main import main as main
from spikeproof.registry import known as choices  # noqa: F401 - its old name here

"""What can be done from a terminal? ``spikeproof COMMAND --option value``; one typed function for each command."""

from spikeproof.cli.main import main as main

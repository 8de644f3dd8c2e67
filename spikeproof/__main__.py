"""``python -m spikeproof`` is the command ``spikeproof``."""

from spikeproof.cli import main

main()

"""One run is one folder: what is written there, by whom it is read, and never half of it."""

from spikeproof.runs.environments import environment, processor
from spikeproof.runs.folder import Run, find_runs
from spikeproof.whole_files import sha256_of, written_whole

__all__ = ["Run", "environment", "find_runs", "processor", "sha256_of", "written_whole"]

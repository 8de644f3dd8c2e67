"""What did a campaign find, so far? Counts in one JSON file, written whole after every trial or batch of them."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.records import write_json
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json

SHOWN = 12  # failures that are kept in words


@dataclass
class Tally:
    """One campaign on one subject: how many trials of the `planned` were made, and how they ended."""

    planned: int
    trials: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, end: str, said: str = "") -> None:
        """One more trial that ended so; `said` is kept where it is a failure."""
        self.trials += 1
        self.ends[end] += 1
        if said and len(self.failures) < SHOWN:
            without_places = re.sub(r"/(?:[^/\s]+/)+", "", " ".join(said.split()))
            self.failures.append(f"{end}: {without_places[:200]}")


class Journal:
    """The tallies of all campaigns, by name; a file that is there is gone on from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tallies: dict[str, Tally] = {}
        if path.is_file():
            for name, kept in json.loads(path.read_text(encoding="utf-8"))["campaigns"].items():
                self.tallies[name] = Tally(kept["planned"], kept["trials"], Counter(kept["ends"]), kept["failures"])

    def tally(self, name: str, planned: int) -> Tally:
        """That of the campaign `name`, which now plans so many trials."""
        found = self.tallies.setdefault(name, Tally(planned))
        found.planned = max(planned, found.trials)
        return found

    def write(self) -> None:
        about: dict[str, Any] = {"made_by": "python -m benchmarks.campaigns", "environment": as_json(environment())}
        campaigns = {
            name: vars(tally) | {"ends": dict(sorted(tally.ends.items()))} for name, tally in self.tallies.items()
        }
        write_json(self.path, about | {"campaigns": campaigns})

"""Where does a benchmark's result go? Into a JSON file that is whole at any time."""

import json
from pathlib import Path
from typing import Any

from spikeproof.runs import written_whole


def write_json(path: Path, record: Any) -> None:
    """Writes `record`, laid out for a person to read what changed."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

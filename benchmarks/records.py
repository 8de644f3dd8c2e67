"""Where does a benchmark's result go? Into a JSON file that is whole at any time."""

import json
from pathlib import Path
from typing import Any

from spikeproof.choices import UserError
from spikeproof.runs import written_whole
from spikeproof.untrusted.texts import json_in, text_of


def write_json(path: Path, record: Any) -> None:
    """Writes `record`, laid out for a person to read what changed."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_before(path: Path, asked: dict[str, Any], part: str) -> dict[str, Any]:
    """What a command that was stopped left under `part`; raises `UserError` where it was asked for something else."""
    if not path.exists():
        return {}
    old = json_in(text_of(path))
    other = next((key for key, value in asked.items() if str(old.get(key)) != str(value)), None)
    if other is not None:
        raise UserError(
            f"{path} has another search, with {other} {old.get(other)} and not {asked[other]}: name another file"
        )
    found: dict[str, Any] = old[part]
    return found

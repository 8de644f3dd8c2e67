"""From which ANN does a spiking network come, by which conversion, or from whose weights?"""

from typing import Any

from spikeproof.reports.reading.evidence import recipe_fields
from spikeproof.reports.wording import spelled

TOLD = ("network", "objective", "training", "data", "seed")


def origin(config: dict[str, Any]) -> list[tuple[str, str]]:
    """What a run's configuration says of it, in short: (caption, code); empty for a network trained from scratch."""
    ann, conversion = config.get("ann"), config.get("conversion")
    told = [("built by", str(config["model"]))] if config.get("model") else []
    told += [("converted by", spelled(conversion, depth=1))] if conversion else []
    told += [("begun with", spelled(config["weights"], depth=1))] if config.get("weights") else []
    if ann:
        fields = recipe_fields(ann)
        made = ", ".join(spelled(fields[name], depth=1) for name in ("network", "objective") if fields.get(name))
        told.append(("from the ANN" if conversion else "taught by the ANN", f"{fields.get('name')}: {made}"))
    return told


def origin_in_full(config: dict[str, Any]) -> list[tuple[str, str]]:
    """The same with every setting: (caption, code), one for the conversion and one for each part of the ANN."""
    ann, conversion = config.get("ann"), config.get("conversion")
    told = [("Built by", str(config["model"]))] if config.get("model") else []
    told += [("Conversion", spelled(conversion))] if conversion else []
    told += [("Begun with", spelled(config["weights"]))] if config.get("weights") else []
    if ann:
        fields = recipe_fields(ann)
        told.append(("Converted from the ANN" if conversion else "Taught by the ANN", str(fields.get("name"))))
        told += [(f"ANN’s {name}", spelled(fields[name])) for name in TOLD if fields.get(name) is not None]
        told += [(f"ANN: {caption}", code) for caption, code in origin_in_full(fields)]
    return told

"""Which attacks are there, each short enough for a test? Only what says how long they go on is set."""

import dataclasses
from dataclasses import replace

from spikeproof.attacks import Attack, Threat
from spikeproof.registry import known

FEWER = {
    "climbs": 3,
    "chains": 2,
    "rounds": 2,
    "proposals": 2,
    "steps": 3,
    "queries": 20,
    "restarts": 1,
    "classes": 2,
    "draws": 3,
    "positions": 6,
}


def cheap(attack: Attack) -> Attack:
    fields = {field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)}  # type: ignore[arg-type]
    fewer = {name: min(value, FEWER[name]) for name, value in fields.items() if name in FEWER and value}
    within = {name: cheap(value) for name, value in fields.items() if isinstance(value, Attack)}
    return replace(attack, **(fewer | within))  # type: ignore[type-var]


def needs_nothing(kind: type[Attack]) -> bool:
    missing = dataclasses.MISSING
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return not any(field.default is missing and field.default_factory is missing for field in fields)


def cheap_attacks(threat: Threat | None = None) -> list[Attack]:
    """Every attack that can be made without a setting, on any threat or under this one."""
    kinds = [kind for kind in known(Attack).values() if needs_nothing(kind)]
    return [cheap(kind()) for kind in kinds if threat is None or kind.knows(threat)]

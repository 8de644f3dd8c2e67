"""What does the eps of a threat on recordings count? Events or frames, and never grey levels."""

from typing import Any

ON_RECORDINGS = ("FrameLinf", "FrameL2", "EventFlips", "EventEdits", "Retiming")
COUNTS = {
    "Linf": "events a cell, Linf norm",
    "L2": "events, L2 norm over all cells",
    "L1": "events, L1 norm over all cells",
    "L0": "events changed",
    "FrameLinf": "events a cell, Linf norm",
    "FrameL2": "events, L2 norm over all cells",
    "EventFlips": "cells flipped",
    "insert": "events inserted",
    "delete": "events deleted",
    "EventEdits": "events added, removed or moved",
    "jitter": "frames that any one event moves",
    "delay": "frames that all events move, added up",
    "moved": "events moved",
}


def on_recordings(threat: dict[str, Any]) -> bool:
    """Whether a threat, as ``verdicts.json`` has it, is one that recordings alone can be under."""
    return _kind(threat) in ON_RECORDINGS or threat["norm"] in ("jitter", "delay", "moved")


def counts(threat: dict[str, Any]) -> str:
    """What eps counts where the data are recordings; the norm's own name where that is unknown.

    `norm` may be the class of the threat, or what that class calls its norm: "Linf", "L2", "L0", "jitter", ...
    """
    fields = (threat.get("config") or {}).get("init_args") or {}
    names = (fields.get("by"), fields.get("only"), _kind(threat), threat["norm"])
    return next((COUNTS[name] for name in names if name in COUNTS), threat["norm"])


def _kind(threat: dict[str, Any]) -> str:
    """The class of a threat, without the package it is from."""
    config = threat.get("config") or {}
    return str(config.get("class_path", threat["norm"])).rpartition(".")[2]

"""How is a run folder of spikeproof 0.1.0, whose files carry no schema number, read today?"""

from collections.abc import Callable
from typing import Any

from spikeproof.runs.attack_names import attack_names

BEFORE_SCHEMAS = 1
BEFORE_DIGESTS = 2  # the same words as today, without a digest
Content = dict[str, Any]

FLAGS = {
    "keeps a state": "stateful",
    "undeclared randomness": "undeclared-randomness",
    "images of a batch meet": "batch-dependence",
    "an attack sees other logits": "other-logits",
    "zero input gradients": "zero-gradients",
    "a dead layer": "dead-layer",
    "a saturated layer": "saturated-layer",
    "potentials outside the slope's window": "outside-window",
    "one step beats many": "one-step-beats-many",
    "noise beats gradients": "noise-beats-gradients",
    "more steps do not help": "steps-do-not-help",
    "steps have not levelled off": "steps-not-levelled-off",
    "restarts have not levelled off": "restarts-not-levelled-off",
    "more draws do not help": "draws-do-not-help",
    "black box beats white box": "black-box-beats-white-box",
    "default path far from the worst": "default-path-far-from-worst",
    "holds without a bound": "holds-without-a-bound",
    "controls found more than gradients": "controls-beat-gradients",
}
KINDS = {
    "FrameLinf": "frames",
    "FrameL2": "frames",
    "EventFlips": "events",
    "EventEdits": "events",
    "Retiming": "retiming",
    "jitter": "retiming",
    "delay": "retiming",
    "moved": "retiming",
}
UNITS = {
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


def upgraded(file: str, content: Content, *, recordings: bool) -> Content:
    """What `file` of 0.1.0 says, in the words of today; `recordings` says whether the run's data are such.

    Raises `KeyError`, `TypeError` or `AttributeError` for what 0.1.0 did not write.
    """
    readers: dict[str, Callable[[Content], Content]] = {"run.json": _run, "probes.json": _probes, "model.json": dict}
    return readers.get(file, lambda old: _verdicts(old, recordings))(content)


def _run(old: Content) -> Content:
    around = {name: old[name] for name in ("versions", "machine", "command") if name in old}
    return {name: value for name, value in old.items() if name not in around} | {"environment": around}


def _probes(old: Content) -> Content:
    return {name: value for name, value in old.items() if name != "draws_if_stochastic"}


def _verdicts(old: Content, recordings: bool) -> Content:
    suite, recordings = old["suite"], recordings or any(map(_kind, old["threats"]))
    names = attack_names([attack["config"] for attack in suite["attacks"]])
    attacks = [attack | {"name": name} for attack, name in zip(suite["attacks"], names, strict=True)]
    flags = [_flag(flag) for flag in old.get("flags", ())]
    threats = [_threat(threat, recordings) for threat in old["threats"]]
    return old | {"suite": suite | {"attacks": attacks}, "flags": flags, "threats": threats}


def _flag(old: Content) -> Content:
    """A flag with its key; of a climb, the numbers of steps that its labels end with, such as APGD 10."""
    key, details = FLAGS.get(old["name"], old["name"]), old.get("details") or {}
    if key == "steps-do-not-help":
        steps = [int(last) for label in details if (last := label.rpartition(" ")[2]).isdigit()]
        details = details | {"steps": steps}
    return old | {"key": key, "details": details}


def _threat(old: Content, recordings: bool) -> Content:
    kind, config = _kind(old), old.get("config") or {"class_path": old["norm"], "init_args": {"eps": old["eps"]}}
    kind = kind or ("frames" if recordings else "images")
    return old | {"kind": kind, "unit": _unit(old) if recordings else "", "config": config}


def _kind(threat: Content) -> str:
    """What a threat is on, where its class or norm says so: empty for pixels and for a class of somebody else."""
    return KINDS.get(_class(threat)) or KINDS.get(threat["norm"]) or ""


def _unit(threat: Content) -> str:
    """What eps counts; the norm's own name where that is unknown. `norm` may be the class of the threat too."""
    fields = (threat.get("config") or {}).get("init_args") or {}
    names = (fields.get("by"), fields.get("only"), _class(threat), threat["norm"])
    return next((UNITS[name] for name in names if name in UNITS), threat["norm"])


def _class(threat: Content) -> str:
    """The class of a threat, without the package it is from."""
    config = threat.get("config") or {}
    return str(config.get("class_path", threat["norm"])).rpartition(".")[2]

"""What does a person call an objective? SR*, weight 0.01, PGD-5; every setting is told elsewhere."""

from typing import Any

from spikeproof.reports.wording import plain, size, spelled
from spikeproof.runs.attack_names import attack_name

NAMES = {
    "Standard": "standard",
    "GaussianNoise": "Gaussian noise",
    "Adversarial": "adversarial",
    "SparseGradient": "SR",
    "StablePotential": "stable potentials",
    "Distillation": "E-RSCT",
    "ThresholdGuarding": "TGO",
    "IntervalTraining": "intervals",
    "Calibration": "converted, calibrated",
    "ThresholdBalancing": "converted, thresholds balanced",
    "LearnedBounds": "converted, QCFS",
    "Quantisation": "quantised",
}
SAID = {
    "weight": "weight",
    "beta": "β",
    "sigma": "σ",
    "temperature": "temperature",
    "kappa": "κ",
}  # the first one an objective has
OF_NOISE = ("StablePotential",)  # whose sigma counts where nothing attacks


def learned_by(config: dict[str, Any]) -> Any:
    """The objective; or, for a network that was not trained, how it came to its weights."""
    training = (config.get("training") or {}).get("init_args") or {}
    begun = config.get("conversion") or config.get("weights")
    return begun if training.get("epochs") == 0 and begun else config.get("objective")


def in_words(choice: dict[str, Any]) -> str:
    """A written objective or conversion in a few words; one of somebody else's as it is written."""
    kind, settings = str(choice["class_path"]).rpartition(".")[2], choice.get("init_args") or {}
    known = kind in NAMES or kind in ("TRADES", "MART", "RAT")
    if not known:
        return spelled(choice, depth=1)
    attack, inner = settings.get("attack"), settings.get("objective")
    name = "SR*" if kind == "SparseGradient" and attack else NAMES.get(kind, kind)
    number = next((field for field in SAID if settings.get(field) is not None), None)
    said = [name, *([f"{SAID[number]} {_number(number, settings[number])}"] if number else [])]
    if kind in OF_NOISE and not attack:
        said.append(f"σ {_number('sigma', settings.get('sigma', 0.0))}")
    said += [in_words(inner)] if inner else []
    said += [attack_name(attack).partition(" (")[0]] if attack else []
    return ", ".join(said)


def _number(field: str, value: float) -> str:
    return size(value) if field == "sigma" else plain(value)

"""What does the field call an attack with these settings? PGD-10, APGD-CE, SA-PGD-100 (ASSG), Square-1000."""

from collections.abc import Sequence
from typing import Any

Config = dict[str, Any]

NAMES = {
    "SAPGD": "SA-PGD",
    "CarliniWagner": "C&W",
    "RFGSM": "R-FGSM",
    "UniformNoise": "uniform noise",
    "NormalNoise": "Gaussian noise",
    "GaussianNoise": "Gaussian noise",  # as it was called before
    "CornerPattern": "corner pattern",
    "DashPattern": "dash pattern",
    "FramePattern": "frame pattern",
    "SteepestRetiming": "steepest retiming",
    "SpikeRetiming": "spike retiming",
}
COUNTED = ("queries", "steps", "draws")  # the first of these fields that an attack has is its number
UNNUMBERED = {"APGD": 100, "FAB": 100, "DeepFool": 50}  # the number that everybody uses goes without saying
USUAL_LOSS = {
    name: "Margin"
    for name in ("CornerPattern", "DashPattern", "FramePattern", "Gumbel", "SCG", "SDA", "Square", "SteepestRetiming")
}
LOSSES = {"Margin": "margin", "CrossEntropy": "CE", "KullbackLeibler": "KL"}


def attack_name(config: Config) -> str:
    """The name of an attack that is written as `config`; what it cannot hold, the settings of the suite say in full."""
    kind, settings = _parts(config)
    if kind == "Along":
        paths = ", ".join(_path(path) for path in settings.get("paths", ()))
        return _beside(attack_name(settings["attack"]), paths)
    if kind == "Targeted":
        name, brackets, inside = attack_name(settings["attack"]).partition(" (")
        return f"{name.removesuffix('-DLR')}-T{brackets}{inside}"
    if kind == "Transfer":
        return f"transfer of {attack_name(settings['attack'])}"
    if kind == "TwinTransfer":
        return f"{'clipped ' if settings.get('clipped') else ''}ANN twin, {attack_name(settings['attack'])}"
    return _plain(kind, settings)


def attack_names(configs: Sequence[Config]) -> list[str]:
    """One name for each; the same name twice is followed by its number."""
    names = [attack_name(config) for config in configs]
    return [name if names.count(name) == 1 else f"{name} #{names[: i + 1].count(name)}" for i, name in enumerate(names)]


def _plain(kind: str, settings: dict[str, Any]) -> str:
    name, said = NAMES.get(kind, kind), []
    if settings.get("momentum") and kind == "PGD":
        name = "NI-FGSM" if settings.get("nesterov") else "MI-FGSM"
    loss = _parts(settings["loss"])[0].removeprefix("Targeted") if settings.get("loss") else ""
    if kind == "APGD" and loss in ("CrossEntropy", "DLR"):
        name += f"-{LOSSES.get(loss, loss)}"
    elif loss and loss != USUAL_LOSS.get(kind, "CrossEntropy"):
        said.append(LOSSES.get(loss, loss))
    number = next((settings[field] for field in COUNTED if settings.get(field)), None)
    if number not in (None, UNNUMBERED.get(kind)):
        name += f"-{number}"
    if settings.get("restarts", 1) > 1:
        said.append(f"{settings['restarts']} starts")
    return _beside(name, ", ".join(said))


def _path(config: Config) -> str:
    """A gradient path, with its setting where it has one alone: ATan 2, ASSG 0.9, and ASSG for the paper's 0.8."""
    kind, settings = _parts(config)
    told = [value for name, value in settings.items() if name != "detach_reset"]
    alone = len(told) == 1 and isinstance(told[0], int | float) and not isinstance(told[0], bool)
    name = f"{kind} {told[0]:g}" if alone and (kind, told[0]) != ("ASSG", 0.8) else kind
    return f"{name} through the reset" if settings.get("detach_reset") is False else name


def _beside(name: str, more: str) -> str:
    """`more` in the brackets after `name`."""
    if not more:
        return name
    return f"{name[:-1]}, {more})" if name.endswith(")") else f"{name} ({more})"


def _parts(config: Config) -> tuple[str, dict[str, Any]]:
    return str(config["class_path"]).rpartition(".")[2], config.get("init_args") or {}

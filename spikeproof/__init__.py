"""Train, attack and compare adversarially robust spiking neural networks under one protocol.

Everything that can be chosen (`Digits`, `VGG`, `LIF`, `TRADES`, `PGD`, `Linf`, ...) is a frozen dataclass; everything
that is done (`train`, `evaluate`, ...) is a function; a model is a plain module from images in [0, 1] to logits.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what is there is imported with the first name that is asked for: torch takes seconds
    from spikeproof.everything import *  # noqa: F403
    from spikeproof.reports import write_report as write_report

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "write_report":  # pages and figures are loaded when a report is written
        return import_module("spikeproof.reports").write_report
    if name.startswith("__") and name != "__all__":  # what Python and others look for in any module
        raise AttributeError(f"module 'spikeproof' has no attribute {name!r}")
    everything = import_module("spikeproof.everything")
    if name == "__all__":
        return sorted([*everything.__all__, "write_report"])
    try:
        return getattr(everything, name)
    except AttributeError:
        raise AttributeError(f"module 'spikeproof' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})

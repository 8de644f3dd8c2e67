"""Where is the package that reads and writes NIR files? It is an extra, imported where it is used."""

from importlib import import_module
from typing import Any

from spikeproof.choices import UserError


def nir() -> Any:
    """The module `nir`; raises `UserError` where it is not installed."""
    try:
        return import_module("nir")
    except ModuleNotFoundError as error:
        raise UserError(
            f"NIR files need {error.name}, which is not installed: pip install 'spikeproof[nir]'"
        ) from error

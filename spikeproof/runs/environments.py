"""Where, and with what, is a number computed? Versions, machine, command."""

import platform
import shlex
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import torch

from spikeproof.runs.records import Environment
from spikeproof.untrusted.words import printable

PACKAGES = ("spikeproof", "torch", "numpy", "scipy", "scikit-learn", "safetensors")


def environment() -> Environment:
    """Versions of everything that can change a number, and the machine it was computed on."""
    return Environment(
        versions={"python": platform.python_version(), "commit": _commit()}
        | {name: version(name) for name in PACKAGES},
        machine={
            "system": platform.platform(),
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        command=printable(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
    )


def version(package: str) -> str:
    """The version that is installed, else the one that the package itself tells, else "unknown"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
    try:
        return str(getattr(import_module(package), "__version__", "unknown"))
    except ImportError:
        return "unknown"


def _commit() -> str:
    """The commit of the source tree that runs, with "-dirty" where it was changed; "none" for an installed copy."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def processor() -> str:
    """The processor's model name, as the system gives it."""
    with_names = Path("/proc/cpuinfo")
    if with_names.is_file():
        for line in with_names.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

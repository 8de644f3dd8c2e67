"""Does a command prepare its process before torch is there, and leave alone what the user has said?"""

import os
import subprocess
import sys

import pytest

from spikeproof import process

FAULTS = """
import resource
from spikeproof.process import keep_freed_memory

if not keep_freed_memory():
    print("not glibc")
    raise SystemExit

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(1 << 26)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def alone(code: str) -> str:
    """What a fresh interpreter prints whose environment says nothing about threads and memory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", *process.SAYS))}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_command_is_prepared_before_torch_is_loaded():
    code = """
import os, sys
import spikeproof.process
prepare = spikeproof.process.prepare
def watched():
    prepare()
    print("torch" in sys.modules, os.environ["OMP_WAIT_POLICY"])
spikeproof.process.prepare = watched
from spikeproof.__main__ import main
main(["configs"])
"""
    assert alone(code).splitlines()[0] == "False passive"


def test_what_the_environment_says_stays(monkeypatch):
    called = []
    monkeypatch.setattr(process, "keep_freed_memory", lambda: called.append(True))
    for name in [name for name in os.environ if name.startswith(process.SAYS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    process.prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert called == [True]
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        with monkeypatch.context() as said:
            said.setenv(name, "1")
            process.prepare()
    assert called == [True]


def test_freed_memory_is_used_again_without_a_fault():
    said = alone(FAULTS)
    if said == "not glibc":
        pytest.skip("this system has another allocator")
    assert int(said) < 100  # 64 MiB are 16,384 pages


def test_importing_spikeproof_changes_nothing():
    code = "import os; before = dict(os.environ); import spikeproof; spikeproof.Linf; print(before == dict(os.environ))"
    assert alone(code) == "True"

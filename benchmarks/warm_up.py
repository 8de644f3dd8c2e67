"""How long until the first result? Each answer comes from a process of its own with an empty compiler cache.

`python -m benchmarks.warm_up spikeproof cpu cpu inductor` is that process: it prints the seconds that the first call
took beyond the second, with everything that the compiler had to load.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import torch

from benchmarks.contestants import contestants
from benchmarks.goals import COMPILED, OURS
from benchmarks.measure import once
from benchmarks.workloads import CPU, CUDA, QUICK, Setting, workloads
from spikeproof.process import keep_freed_memory

WORKLOAD = "CNN train, wide"
SIZES = {"cpu": CPU, "cuda": CUDA, "quick": QUICK}


def warm_up(sizes: str, device: str, backend: str) -> dict[str, dict[str, float]]:
    """Seconds of warm-up by contestant, with an empty compiler cache and with the one which that left behind."""
    passes = ("cold",) if sizes == "quick" else ("cold", "warm")
    found: dict[str, dict[str, float]] = {}
    for name in (COMPILED, OURS):
        with tempfile.TemporaryDirectory() as cache:
            found[name] = {which: _in_new_process(name, sizes, device, backend, cache) for which in passes}
    return found


def _in_new_process(name: str, sizes: str, device: str, backend: str, cache: str) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.warm_up", name, sizes, device, backend]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure_here(name: str, sizes: str, device: str, backend: str) -> float:
    """Seconds that the first call takes beyond the second; preparing compiles nothing."""
    torch.set_num_threads(1)
    keep_freed_memory()
    who = next(c for c in contestants(backend) if c.name == name)
    workload = next(w for w in workloads(SIZES[sizes], vgg=False) if w.name == WORKLOAD)
    at = Setting(torch.device(device))
    call = workload.prepare(who, at)
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    return first - once(call, at.device)


if __name__ == "__main__":
    print(json.dumps(measure_here(*sys.argv[1:])))

"""How robust is a network? Suites of attacks, verdicts per image, and whether they can be believed."""

from spikeproof.calling import predict
from spikeproof.evaluation.consumed_runs import energy_of_run
from spikeproof.evaluation.consumption import Energy, energy
from spikeproof.evaluation.diagnosis import Diagnosis, diagnose
from spikeproof.evaluation.evaluated_runs import evaluate_run
from spikeproof.evaluation.probed_runs import probe_run
from spikeproof.evaluation.probes import Probes, probe
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.robustness import evaluate
from spikeproof.evaluation.suites import SUITES, Suite, suite_named
from spikeproof.evaluation.trade_off import qte
from spikeproof.evaluation.verdicts import Verdicts
from spikeproof.runs.intervals import Interval

__all__ = [
    "SUITES",
    "Diagnosis",
    "Energy",
    "Interval",
    "Probes",
    "Protocol",
    "Suite",
    "Verdicts",
    "diagnose",
    "energy",
    "energy_of_run",
    "evaluate",
    "evaluate_run",
    "predict",
    "probe",
    "probe_run",
    "qte",
    "suite_named",
]

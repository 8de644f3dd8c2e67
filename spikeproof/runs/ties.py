"""Do the files of a run folder belong together? Weights state of which network and which choices they are."""

from spikeproof.choices import UserError
from spikeproof.runs import Run
from spikeproof.runs.digests import digest_of_json
from spikeproof.runs.records import BuiltRecord, CertificatesRecord, RunRecord, VerdictsRecord

MODEL, CONFIG = "model_sha256", "config_sha256"  # facts beside the weights
WEIGHTS = "model.safetensors"


def refuse_untied(run: Run) -> None:
    """Raise `UserError` unless ``model.json`` and the choices in ``run.json`` are those of the weights.

    Weights that state nothing, as spikeproof wrote them before, are not asked.
    """
    _, facts = run.stated(WEIGHTS)
    if MODEL in facts and facts[MODEL] != digest_of_json(run.read_json(BuiltRecord.FILE)):
        raise _not_of(run, BuiltRecord.FILE)
    if CONFIG not in facts or RunRecord.FILE not in run:
        return
    if facts[CONFIG] not in (digest_of_json(run.record.config), *run.record.config_sha256_before):
        raise _not_of(run, RunRecord.FILE)


def are_of_others(run: Run, record: VerdictsRecord | CertificatesRecord) -> bool:
    """Whether a record is of other weights than those in the folder; where nothing is stated, it is not."""
    return bool(record.network_sha256) and WEIGHTS in run and run.stated(WEIGHTS)[0] != record.network_sha256


def _not_of(run: Run, file: str) -> UserError:
    return UserError(
        f"{run.path / file} is not the one that {WEIGHTS} was written with: put the old one back, or train again"
    )

"""What is an evaluation called in a run folder? By suite, threat and a digest: standard-Linf-1a2b3c4d."""

import hashlib
import json
import re

from spikeproof.runs.records import Config, VerdictsRecord

LETTERS = 8  # of a digest in a name
MOST = 40  # letters of a suite's name


def protocol_name(suite: str, threat: str, protocol: Config | None) -> str:
    """The name of the `protocol`, written down, with attacks of this `suite` under this class of `threat`.

    Equal for two evaluations that were done in the same way. Without a protocol, as 0.1.0 wrote, it has no digest.
    """
    plain = re.sub(r"[^\w+-]+", "_", suite)[:MOST]
    return "-".join([plain, threat, *([fingerprint_of(protocol)[:LETTERS]] if protocol else [])])


def fingerprint_of(protocol: Config) -> str:
    """The digest of all that a protocol, or a way to certify, written down, chooses."""
    return hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()


def name_of(record: VerdictsRecord) -> str:
    """What the evaluation that `record` is about is called: the name of its protocol."""
    return protocol_name(record.suite.name, record.threats[0].norm, record.protocol)

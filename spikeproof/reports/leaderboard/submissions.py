"""What does a submission say that no measurement knows? ``submission.json``, beside ``run.json``."""

from dataclasses import dataclass
from typing import ClassVar

from spikeproof.choices import UserError
from spikeproof.runs import Run
from spikeproof.runs.json_forms import from_json
from spikeproof.untrusted.words import told


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Who made a network, and where it was published; the keys and their meaning are RobustBench's.

    `name` is shown (default: that of the run), `reported` is the robust accuracy that was published, in %.
    """

    FILE: ClassVar[str] = "submission.json"
    name: str = ""
    authors: str = ""
    venue: str = ""
    link: str = ""
    additional_data: bool | None = None
    reported: str = ""
    footnote: str = ""

    def __post_init__(self) -> None:
        if self.link and not self.link.startswith(("https://", "http://")):
            raise ValueError(f"link is {told(self.link)}, and no address of https")


def submission_of(run: Run) -> Submission:
    """What stands beside a run, or nothing; raises `UserError` for what is no submission."""
    if Submission.FILE not in run:
        return Submission()
    try:
        return from_json(run.read_json(Submission.FILE), Submission)
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{run.path / Submission.FILE} is no submission: {error}") from error

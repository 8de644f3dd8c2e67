"""How is what an evaluation found told: in a terminal, in a notebook, as a table, as a picture?"""

from html import escape
from typing import TYPE_CHECKING, Any

from spikeproof.choices import UserError
from spikeproof.runs.intervals import Interval

if TYPE_CHECKING:
    from spikeproof.evaluation.verdicts import Verdicts

FOR_DEVELOPMENT = ("quick", "habit", "events")
LOW = 0.5  # of clean accuracy: who trains a network usually gets more
NORMALISATION = (
    "Clean accuracy is low. Images lie in [0, 1]: for a network that was trained on normalised ones say "
    "adapt(model, mean=..., std=...)."
)


def rows(found: "Verdicts") -> list[tuple[str, float, Interval | None]]:
    """(name, eps, accuracy), from clean images on; None where there is no number."""
    robust = [found.robust_accuracy(index) for index in range(len(found.threats))]
    threats = [(str(threat), float(threat.eps)) for threat in found.threats]
    return [("clean", 0.0, found.clean_accuracy()), *((*t, r) for t, r in zip(threats, robust, strict=True))]


def remarks(found: "Verdicts") -> list[str]:
    """What must be said beside the numbers."""
    said = []
    if found.diagnosis.status != "ok":
        said.append(f"{found.diagnosis.status}: {found.diagnosis.reason}")
    said += [f"Red flag, {flag.said()}" for flag in found.flags if flag.raised and not flag.spoils]
    if found.suite.name in FOR_DEVELOPMENT:
        said.append("For development, not a claim: take the suite standard.")
    if found.clean_accuracy().value < LOW:
        said.append(NORMALISATION)
    return said


def as_text(found: "Verdicts") -> str:
    lines = [f"{len(found.label)} images, suite {found.suite.name}, {_flags(found)}"]
    lines += [f"  {name:12} {written(share)}" for name, _, share in rows(found)]
    return "\n".join([*lines, *remarks(found)])


def as_html(found: "Verdicts") -> str:
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(written(share))}</td></tr>"
        for name, _, share in rows(found)
    )
    head = f"{len(found.label)} images, suite {escape(found.suite.name)}, {_flags(found)}"
    said = "".join(f"<p>{escape(remark)}</p>" for remark in remarks(found))
    return f"<table><caption>{head}</caption>{cells}</table>{said}"


def as_frame(found: "Verdicts") -> Any:
    """A pandas data frame, one line for clean images and each threat; pandas is an extra."""
    try:
        import pandas
    except ImportError as error:
        raise UserError("to_frame needs pandas: pip install 'spikeproof[notebook]'") from error
    table = [
        {"threat": name, "eps": eps, **(share._asdict() if share else dict.fromkeys(Interval._fields))}
        for name, eps, share in rows(found)
    ]
    return pandas.DataFrame(table)


def as_plot(found: "Verdicts", axes: Any = None) -> Any:
    """Accuracy in % against eps with its 95 % interval, on matplotlib's `axes` (None: a figure of its own)."""
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    known = [(eps, share) for _, eps, share in rows(found) if share]
    at = [eps for eps, _ in known]
    axes.fill_between(at, *([100 * getattr(s, end) for _, s in known] for end in ("low", "high")), alpha=0.15)
    axes.plot(at, [100 * share.value for _, share in known], marker="o")
    axes.set(xlabel="eps", ylabel="accuracy, %", ylim=(0, 101), title=f"suite {found.suite.name}")
    return axes


def written(share: Interval | None) -> str:
    """An accuracy in % with its 95 % interval."""
    if share is None:
        return "no number"
    return f"{100 * share.value:.1f} % [{100 * share.low:.1f}-{100 * share.high:.1f}]"


def _flags(found: "Verdicts") -> str:
    raised = sum(flag.raised for flag in found.flags)
    return f"{raised or 'none'} of {len(found.flags)} red flags raised"

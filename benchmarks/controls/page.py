"""How does what was found become a page? Tables, made from the JSON file alone."""

from typing import Any

from spikeproof.evaluation.flags import CHECKS

START = """# Controls: how far apart are the honest and the hiding?

Made by `python -m benchmarks.controls` from [controls.json](controls.json). What each flag means is in
[evaluation.md](evaluation.md#red-flags). {controls} small networks, trained on the digits, are judged on
{images} images under {threat} by the suite `{suite}`, as commit {commits} has it.
{right}.
"""
ROOM = """
## The room between

For each flag: the largest number of an honest network, and the smallest one of the networks that hide and that
the flag is there for. In brackets the threshold there: it is at least what chance explains with so many images.
A dash: no network of that kind had this flag, or none that hides is there for it.

| flag | honest, at most | threshold | hiding, at least |
| --- | --: | --: | --: |
"""
NETWORKS = """
## The networks

*Unbroken* is the share of all images that no attack of the suite broke: what the network claims. Where what the
network answers by itself spoils the verdict, no attack is run. A number under *robust* says that the verdict
stands. Processor seconds on one thread, training left out. Gradients of the
suite, and of the flags, on all images together.

| network | | unbroken | robust | raised | seconds | gradients | of flags |
| --- | --- | --: | --: | --- | --: | --: | --: |
"""
COSTS = """
## What flags cost

The same evaluation of a network with plain training, on {images} images, with flags and without, in turns
(`--costs {rounds}`, commit {commit}). Medians. Counted are images passed through the network and back, those
that fill up a batch too. The last column is the ratio of processor seconds of each pair: median, and from the
smallest to the largest.

| suite | | gradients | forwards | processor seconds | with : without |
| --- | --- | --: | --: | --: | --: |
"""


def page(record: dict[str, Any]) -> str:
    """The whole page, markdown."""
    controls = record["controls"]
    wrong = [name for name, found in controls.items() if not found["right"]]
    right = "All are judged rightly" if not wrong else f"Judged wrongly: {', '.join(wrong)}"
    commits = ", ".join(sorted({str(found["commit"]) for found in controls.values()}))
    text = START.format(**record | {"controls": len(controls), "right": right, "commits": commits}) + ROOM
    text += "".join(f"| {' | '.join(cells)} |\n" for cells in room(controls))
    text += NETWORKS + "".join(f"| {' | '.join(network(name, found))} |\n" for name, found in controls.items())
    if costs := record["costs"]:
        commits = ", ".join(sorted({str(found["commit"]) for found in costs.values()}))
        text += COSTS.format(**next(iter(costs.values())) | {"commit": commits})
        text += "".join(f"| {' | '.join(cells)} |\n" for suite, found in costs.items() for cells in cost(suite, found))
    return text


def room(controls: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """A line for each flag."""
    lines = []
    for check in CHECKS:
        honest = [f for c in controls.values() if c["honest"] and (f := c["flags"].get(check.key))]
        hiding = [f for c in controls.values() if check.key in c["for_it"] and (f := c["flags"].get(check.key))]
        most, least = max(honest, key=of, default=None), min(hiding, key=of, default=None)
        lines.append((check.name, told(most), f"{check.threshold:g}", told(least)))
    return lines


def of(flag: dict[str, Any]) -> float:
    """Its number; None is NaN, which is beyond every threshold."""
    return float("inf") if flag["number"] is None else float(flag["number"])


def told(flag: dict[str, Any] | None) -> str:
    return "–" if flag is None else f"{of(flag):.3g} ({flag['threshold']:.3g})"


def network(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    """A line for a control."""
    names = {check.key: check.name for check in CHECKS}
    raised = ", ".join(names.get(key, key) for key, flag in found["flags"].items() if flag["raised"]) or "–"
    robust = found["status"] if found["robust_accuracy"] is None else percent(found["robust_accuracy"])
    return (
        name if found["right"] else f"**{name}**: wrong",
        "honest" if found["honest"] else "hides",
        percent(found["unbroken"]),
        robust,
        raised,
        f"{found['seconds']:.0f}",
        f"{found['gradients']:,}",
        f"{found['gradients_of_flags']:,}",
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def cost(suite: str, found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Two lines for a suite."""
    ratio = "{median:.2f} ({low:.2f}–{high:.2f})".format(**found["ratio"])
    return [
        (
            f"`{suite}`",
            kind,
            f"{found[kind]['gradients']:,.0f}",
            f"{found[kind]['forwards']:,.0f}",
            f"{found[kind]['seconds']:.1f}",
            ratio if kind == "with flags" else "",
        )
        for kind in ("with flags", "without")
    ]

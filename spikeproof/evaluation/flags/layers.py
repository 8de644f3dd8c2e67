"""Can gradients pass the spiking layers: do neurons fire, and do potentials lie where the slope is not zero?"""

from spikeproof.evaluation.flags.flag import Measured, check
from spikeproof.evaluation.flags.inspection import Inspection


@check(
    Inspection,
    key="dead-layer",
    name="a dead layer",
    threshold=0.99,
    spoils=False,
    number="share of neurons that never fire, the worst layer",
    meaning="Nearly all neurons of a layer never fire, on any sample.",
)
def dead_layer(network: Inspection) -> Measured | None:
    return worst(network.activity.dead)


@check(
    Inspection,
    key="saturated-layer",
    name="a saturated layer",
    threshold=0.5,
    spoils=False,
    number="share of neurons that fire at every step of every image, the worst layer",
    meaning="Most neurons of a layer fire at every step of every sample: they pass nothing on.",
)
def saturated_layer(network: Inspection) -> Measured | None:
    return worst(network.activity.saturated)


@check(
    Inspection,
    key="outside-window",
    name="potentials outside the slope's window",
    threshold=0.9,
    spoils=False,
    number="share of potentials where the slope is below 1 % of its height, the worst layer",
    meaning="At nearly all potentials of a layer the surrogate slope has vanished, so that hardly any gradient passes. "
    "Other gradient paths have to be attacked.",
)
def outside_window(network: Inspection) -> Measured | None:
    return worst(network.activity.outside)


def worst(by_layer: dict[str, float]) -> Measured | None:
    """The largest share of any layer; None without layers."""
    return Measured(number=max(by_layer.values()), details=by_layer) if by_layer else None

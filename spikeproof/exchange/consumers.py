"""Who reads NIR graphs, and what does each read otherwise than the format says?

Each entry is what the reader of that library does, in the version named; docs/hardware.md has the measurements.
"""

from dataclasses import dataclass

from spikeproof.choices import UserError, nearest


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A reader of NIR graphs. The defaults are the format's own meaning."""

    title: str
    dt: float = 1e-4  # seconds a step
    fires_at: bool = False  # at v >= v_threshold, where NIR says v > v_threshold
    reads_r: bool = True  # the resistance of a neuron
    has_if: bool = True  # reads IF as an integrate-and-fire neuron
    means: bool = True  # has AvgPool2d; else SumPool2d alone
    scales: bool = True  # has Scale
    groups: bool = True  # has convolutions in groups
    forgets: bool = True  # takes a leak of 0, a tau of one step
    branches: bool = True  # adds branches once both are there


CONSUMERS = {
    "nir": Consumer(title="NIR"),
    "spikingjelly": Consumer(title="SpikingJelly 2.0", fires_at=True, scales=False, groups=False, forgets=False),
    "snntorch": Consumer(title="snnTorch 1.0", has_if=False, scales=False),
    "norse": Consumer(title="Norse 1.1", dt=1e-3, reads_r=False, means=False, scales=False, branches=False),
}
UNABLE = {
    "sinabs": (
        "sinabs (3.1.3) reads NIR neurons as its own, which reset softly and fire several spikes in a step: no network "
        "that NIR can say computes the same there"
    ),
    "lava": "Lava has no package for this Python, so that no export for it could be tried: take --for nir",
}


def consumer_named(name: str) -> Consumer:
    """The reader of that name; raises `UserError` for one that there is not, or that cannot be served."""
    if name in UNABLE:
        raise UserError(UNABLE[name])
    if name not in CONSUMERS:
        raise UserError(f"nobody is known by {name!r} who reads NIR graphs; {nearest(name, CONSUMERS)}")
    return CONSUMERS[name]

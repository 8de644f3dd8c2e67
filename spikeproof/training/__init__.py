"""How is a network trained? A recipe says what, one loop does it, a run folder keeps it."""

from spikeproof.training.loop import train
from spikeproof.training.optimisers import SGD, AdamW, Constant, Cosine, Optimiser, Schedule, Step
from spikeproof.training.recipe import Recipe, Selection, Training
from spikeproof.training.trackers import TensorBoard, Tracked
from spikeproof.training.usual import usual_recipes
from spikeproof.training.weights import Weights

__all__ = [
    "SGD",
    "AdamW",
    "Constant",
    "Cosine",
    "Optimiser",
    "Recipe",
    "Schedule",
    "Selection",
    "Step",
    "TensorBoard",
    "Tracked",
    "Training",
    "Weights",
    "train",
    "usual_recipes",
]

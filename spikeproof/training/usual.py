"""What is trained on data that come without a configuration? One network as usual, and one adversarially."""

from spikeproof.attacks import PGD, FrameLinf, Linf, Threat
from spikeproof.data import DataSet
from spikeproof.objectives import Adversarial, Standard
from spikeproof.snn import LIF, Direct, Frames, Network, SmallCNN
from spikeproof.training.optimisers import SGD
from spikeproof.training.recipe import Recipe, Selection, Training

__all__ = ["usual_recipes"]

SMALL = 16  # pixels a side, where changes have to be larger to be seen


def usual_recipes(data: DataSet, epochs: int = 15) -> list[Recipe]:
    """A small convolutional network of LIF neurons, trained in the usual way and against PGD-5 (Madry et al., 2018).

    Radii are 8/255, or 0.1 for images of at most 16 pixels a side; recordings are trained on frames.
    """
    recordings = len(data.shape) == 4
    threat: Threat = FrameLinf(eps=0.1) if recordings else Linf(eps=0.1 if max(data.shape[-2:]) <= SMALL else 8 / 255)
    network = Network(
        architecture=SmallCNN(widths=(16, 32, 64)), neuron=LIF(), encoder=Frames() if recordings else Direct()
    )
    training = Training(
        epochs=epochs,
        batch=64,
        optimiser=SGD(learning_rate=0.05),
        selection=Selection(threat=threat, attack=PGD(steps=5), images=100),
    )
    objectives = {"standard": Standard(), "adversarial": Adversarial(threat=threat, attack=PGD(steps=5))}
    return [
        Recipe(name=name, data=data, network=network, objective=objective, training=training)
        for name, objective in objectives.items()
    ]

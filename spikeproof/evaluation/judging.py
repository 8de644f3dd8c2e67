"""Does an attack break an image? What it returns is projected into the threat and judged by the network itself."""

from typing import NamedTuple

from torch import Tensor, nn

from spikeproof.attacks import Attack, Threat
from spikeproof.evaluation.predictions import predict
from spikeproof.snn import attack_view


class Judgement(NamedTuple):
    """Per image ``[B]``, on the CPU: broken or not, and evaluations spent; and how many logits are no numbers."""

    broken: Tensor
    gradients: Tensor
    forwards: Tensor
    undefined: int


class Judge:
    """One network, judged by the mean logits of `draws` passes, or by their `vote`.

    Attacks average over as many passes; on a network that may be stochastic none stops at a first lucky draw.
    """

    def __init__(self, model: nn.Module, draws: int, vote: bool) -> None:
        self.model = model
        self.attacked = attack_view(model)
        self.draws = draws
        self.vote = vote
        self.stop = draws == 1 and not getattr(model, "stochastic", False)

    def __call__(
        self, attack: Attack, x: Tensor, y: Tensor, threat: Threat, seed: int, draws: int | None = None
    ) -> Judgement:
        """What `attack` does to images `x` on the network's device; its gradients are of `draws` passes, if given."""
        found = attack.averaging(draws or self.draws).run(self.attacked, x, y, threat, seed=seed, stop=self.stop)
        allowed = threat.project(found.x, x)
        legal = threat.contains(allowed, x).cpu()
        logits = predict(
            self.model, allowed, batch=len(x), draws=self.draws, vote=self.vote, seed=seed + 1
        )  # never the noise that was attacked
        broken = legal & (logits.argmax(1) != y.cpu())
        undefined = int((~logits.isfinite()).any(1).sum())
        return Judgement(broken, found.gradients.cpu(), found.forwards.cpu() + self.draws, undefined)

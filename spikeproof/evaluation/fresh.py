"""How is a network asked that has seen nothing? By a copy of what was handed in, made before its first call.

A network that remembers images answers for them what it answered before. A fresh copy has no memories.
"""

import copy
import gc
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

GROWING = 3  # calls in a row that each leave something behind


class Fresh:
    """Copies of a network as it is now; `exact` says whether it can be copied: if not, it is its own copy."""

    def __init__(self, model: nn.Module) -> None:
        self._kept, self.exact = _copied(model)

    def __call__(self) -> nn.Module:
        """A copy that has not been called yet."""
        return _copied(self._kept)[0] if self.exact else self._kept


def _copied(model: nn.Module) -> tuple[nn.Module, bool]:
    try:
        twin = copy.deepcopy(model)
    except Exception:  # whatever a network's parts raise that cannot be copied
        return model, False
    return twin, twin is not model


def remembered(call: Callable[[Tensor], object], x: Tensor) -> int:
    """How many of the images ``[B, ...]`` are still in memory, anywhere, after two more calls with others.

    Images of noise are shown; a tensor that holds the values of one was kept by `call`, be it in the network, in a
    closure or in a list of its module.
    """
    shown = [_noise(x) for _ in range(3)]
    for images in shown:
        call(images.clone())
    first = shown[0].flatten(1)[:, :4]  # the first pixels are enough: no other image has them
    own = {id(images) for images in shown} | {id(first)}
    found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for tensor in _tensors():
        if id(tensor) not in own and tensor.is_floating_point() and tensor.numel() >= x[0].numel():
            found |= _held(tensor, first)
    return int(found.sum())


def grows(call: Callable[[Tensor], object], x: Tensor) -> bool:
    """Whether every call with new images leaves more behind, anywhere, than there was before it."""
    return _grows(call, x, collect=False) and _grows(call, x, collect=True)


def _grows(call: Callable[[Tensor], object], x: Tensor, collect: bool) -> bool:
    """With `collect`, what is only waiting to be freed does not count; that takes a second."""
    sizes = []
    for _ in range(GROWING + 2):
        call(_noise(x))
        if collect:
            gc.collect()
        sizes.append(sum(tensor.numel() for tensor in _tensors()))
    return all(later > earlier for earlier, later in pairwise(sizes[1:]))


def _noise(x: Tensor) -> Tensor:
    """Images like `x` that nobody has seen: other ones each time, whatever the seed of the evaluation."""
    generator = torch.Generator()
    generator.seed()
    return torch.rand(x.shape, generator=generator).to(x)


def _held(tensor: Tensor, pixels: Tensor) -> Tensor:
    """Of which images the first pixels ``[B, n]`` lie next to each other somewhere in the tensor ``[B]``."""
    values, wanted = tensor.detach().flatten(), pixels.to(tensor.device, tensor.dtype)
    count = wanted.shape[1]
    found = []
    for image in wanted:
        places = (values[: len(values) - count + 1] == image[0]).nonzero()
        found.append((values[places + torch.arange(count, device=places.device)] == image).all(1).any())
    return torch.stack(found).to(pixels.device)


def _tensors() -> Iterator[Tensor]:
    """All dense tensors that are alive."""
    for thing in gc.get_objects():
        if type(thing) in (Tensor, nn.Parameter) and thing.layout == torch.strided and thing.device.type != "meta":
            yield thing

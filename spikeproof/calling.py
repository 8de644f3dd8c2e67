"""How is a model asked? In eval mode, in full float32, with checked inputs and outputs, and leaving it as it was.

An answer is judged in batches of one fixed shape: rounding differs between shapes and between the rows of a batch, and
a spike at its threshold may flip with it. In one shape, and in a row that the image itself decides, its logits depend
on nothing but the image, bit for bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.choices import UserError, whole_number
from spikeproof.randomness import seeded
from spikeproof.shortage import lacks_memory

WIDTHS = {"cpu": 32}  # images in one judged batch; padding costs more than small batches there
WIDTH = 256  # on an accelerator
MULTIPLIER = -7046029254386353131  # 2^64 over the golden ratio, as a signed number: spreads near words far apart


def width_for(device: torch.device) -> int:
    """How many images a judged batch has on this device."""
    return WIDTHS.get(device.type, WIDTH)


def device_of(model: nn.Module) -> torch.device:
    """The device of the first tensor of `model`; the CPU for a model without any."""
    tensor = next((t for t in (*model.parameters(), *model.buffers())), None)
    return tensor.device if tensor is not None else torch.device("cpu")


def is_stochastic(model: nn.Module) -> bool | None:
    """Whether two calls may differ, as the model declares it; None where it declares nothing."""
    return getattr(model, "stochastic", None)


def predict(
    model: nn.Module, x: Tensor, *, draws: int = 1, vote: bool = False, width: int | None = None, seed: int = 0
) -> Tensor:
    """Mean logits ``[N, K]`` of `draws` passes, float32 on the CPU; `x` may lie on another device than the model.

    The model sees batches of `width` images (default: `width_for` its device). What an image shows decides its row;
    empty rows hold copies of another. With `vote`, the share of passes that name each class, ties broken by the mean
    probabilities.
    """
    passes = _passes(model, x, draws, width, seed)
    return (_shares(passes) if vote else mean_of(passes.unbind())).float()


def mean_of(passes: Sequence[Tensor]) -> Tensor:
    """The mean logits ``[B, K]`` of some passes, along which gradients flow too."""
    return torch.stack(tuple(passes)).mean(0) if len(passes) > 1 else passes[0]


def votes(model: nn.Module, x: Tensor, draws: int, *, width: int | None = None, seed: int = 0) -> Tensor:
    """How many of `draws` passes name each class ``[N, K]``, integers on the CPU; asked like `predict`."""
    return _named(_passes(model, x, draws, width, seed)).sum(0)


def _passes(model: nn.Module, x: Tensor, draws: int, width: int | None, seed: int) -> Tensor:
    """Logits ``[draws, N, K]`` on the CPU."""
    for name, number, least in (("draws", draws, 1), ("width", 1 if width is None else width, 1), ("seed", seed, 0)):
        whole_number(name, number, least)
    device, found = device_of(model), []
    width = width or width_for(device)
    row, turn = _places(x, width)
    order = []
    with torch.no_grad(), as_evaluated(model), in_full_precision(), seeded(seed, device):
        for number in range(int(turn.max()) + 1):
            those = (turn == number).nonzero().squeeze(1)
            whole = x[those[:1]].to(device).expand(width, *x.shape[1:]).clone()
            whole[row[those].to(device)] = x[those].to(device)
            passes = torch.stack([checked_logits(model, whole, len(those)) for _ in range(draws)])
            found.append(passes.cpu()[:, row[those]])
            order.append(those)
    return torch.cat(found, 1)[:, torch.cat(order).argsort()]


def _places(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The row of each image in a judged batch, by what the image shows, and the number of its batch ``[N]``.

    Even in one shape a matrix product may round otherwise in another row. So an image has a row of its own.
    """
    words = x.detach().flatten(1).to("cpu", torch.float32).contiguous().view(torch.int32).long()
    factors = torch.arange(1, 2 * words.shape[1], 2) * MULTIPLIER  # odd, so that each pixel counts
    row = ((words + 1) * factors).sum(1).bitwise_right_shift(32).remainder(width)  # whole numbers: exact in any order
    order = row.argsort(stable=True)
    first = torch.searchsorted(row[order], row[order])  # of those that share a row
    turn = torch.empty_like(row).scatter(0, order, torch.arange(len(row)) - first)
    return row, turn


def _named(passes: Tensor) -> Tensor:
    """1 for the class that a pass names, 0 elsewhere."""
    return F.one_hot(passes.argmax(-1), passes.shape[-1])


def _shares(passes: Tensor) -> Tensor:
    """Shares ``[B, K]`` of passes ``[D, B, K]``; the mean probabilities add less than half a vote."""
    return _named(passes).to(passes.dtype).mean(0) + passes.softmax(2).mean(0) / (2 * len(passes))


def checked_logits(model: nn.Module, x: Tensor, images: int | None = None) -> Tensor:
    """One pass; refuses what is no logits ``[B, K]``, and a model that writes into its input.

    `images` are as many of `x` as were asked about, where the others fill up the batch.
    """
    given = x.clone()
    answer = answer_of(model, given)
    check_unwritten(given, x)
    check_logits(answer, x, len(x) if images is None else images)
    return answer


def answer_of(model: nn.Module, x: Tensor) -> Any:
    """What the model returns; raises `UserError` that says what does not fit, where it cannot take these images."""
    try:
        return model(x)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # what torch raises for what does not fit
        if isinstance(error, UserError) or lacks_memory(error):
            raise
        reason = obstacle_between(model, x) or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"the network fails on images {x.dtype} {list(x.shape)}: {reason}") from error


def obstacle_between(model: nn.Module, x: Tensor) -> str | None:
    """What keeps the model from taking images like `x`, as far as its tensors show it: a device, a type, one image."""
    tensors = dict(chain(model.named_parameters(), model.named_buffers()))
    if elsewhere := next((name for name, tensor in tensors.items() if tensor.device != x.device), None):
        return (
            f"its {elsewhere} is on {tensors[elsewhere].device}, and they are on {x.device}: x.to(...), model.to(...)"
        )
    floats = {name: tensor.dtype for name, tensor in tensors.items() if tensor.is_floating_point()}
    if other := next((name for name, dtype in floats.items() if dtype != x.dtype), None):
        right = {torch.float32: "x.float()", torch.float64: "x.double()"}.get(floats[other], "model.float()")
        return f"its {other} is {floats[other]}, and they are {x.dtype}: {right}"
    norms = (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._NormBase))
    if len(x) == 1 and any(norm.running_mean is None for norm in norms):
        return "a norm without running statistics takes them over the batch, and one image is none"
    return None


def check_network(model: nn.Module) -> None:
    """Refuse a network that can be asked nothing here: without values, or where nothing has a gradient."""
    if torch.is_inference_mode_enabled():
        raise UserError("inside torch.inference_mode() nothing has a gradient, and attacks need one: call it outside")
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            continue  # it gets its values with the first images
        if tensor.is_meta:
            raise UserError(f"{name} is on the device meta and has no values: load the network's weights first")
        if tensor.is_inference():
            raise UserError(
                f"{name} was made inside torch.inference_mode() and can have no gradient: build the network outside"
            )


@contextmanager
def as_evaluated(model: nn.Module) -> Iterator[None]:
    """The model in eval mode inside the block, every module in its own mode again after it."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Float32 is float32 inside the block: no TF32 and no autocast; all switches are as before after it.

    TF32 keeps 10 bits of a factor, and its rounding differs with the size of the batch. Nor are the fastest
    convolutions searched for: another process may find others, which round otherwise.
    """
    backends: Any = torch.backends
    searching = backends.cudnn.benchmark
    cuda, cpu = backends.cudnn, backends.mkldnn  # cudnn's own switch is that of all of CUDA
    kinds = {cuda: (backends.cuda.matmul, cuda.conv, cuda.rnn), cpu: (cpu.matmul, cpu.conv, cpu.rnn)}
    places = [place for each in kinds.values() for place in each]
    before = [(place, _own_precision(place, kind)) for kind, each in kinds.items() for place in each]
    matmul = _readable(torch.get_float32_matmul_precision)
    convolutions = _readable(lambda: backends.cudnn.allow_tf32)
    try:
        # Both the older and the newer switches: torch refuses to read the one where the other says something else.
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = backends.cudnn.benchmark = False
        for place in places:
            place.fp32_precision = "ieee"
        with ExitStack() as stack:
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        backends.cudnn.benchmark = searching
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for place, precision in before:
            place.fp32_precision = precision


def _own_precision(place: Any, kind: Any) -> str:
    """What is set at `place`; "none" where it says what all of its kind do, so that it goes on following them."""
    return "none" if place.fp32_precision == kind.fp32_precision else place.fp32_precision


def _readable(read: Callable[[], Any]) -> Any:
    """What an older switch says; None where newer ones say what it cannot."""
    try:
        return read()
    except RuntimeError:
        return None


def check_logits(answer: Any, x: Tensor, images: int | None = None) -> None:
    """Refuse what is no logits ``[B, K]``, floating point, for the images `x`."""
    if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != len(x):
        seen = list(answer.shape) if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        hint = _reduced_by(answer, len(x))
        filled = f" in a batch of {len(x)}" if images not in (None, len(x)) else ""
        raise UserError(
            f"a model returns logits [B, K]; for {images or len(x)} images{filled} this one returned {seen}{hint}"
        )
    if not answer.is_floating_point():
        raise UserError(f"logits are floating point, not {answer.dtype}")
    if answer.shape[1] < 2:
        raise UserError(
            f"logits are of at least 2 classes, not {answer.shape[1]}: for one logit z return "
            "torch.cat([torch.zeros_like(z), z], 1)"
        )


def _reduced_by(answer: Any, images: int) -> str:
    """How outputs over time, or two kinds of them, become logits."""
    if isinstance(answer, Tensor) and answer.ndim == 3 and answer.shape[1] == images:
        return ": outputs [T, B, K] over time; adapt(model, reduce='mean'), or --reduce mean, makes logits of them"
    if isinstance(answer, tuple | list) and len(answer) == 2 and all(isinstance(each, Tensor) for each in answer):
        return ": of (spikes, membrane) adapt(model, reduce='sum'), or --reduce sum, makes logits; 'last' the membrane"
    return ""


def check_unwritten(given: Tensor, x: Tensor) -> None:
    """Refuse a model that changed `given`, a copy of the images `x` that it was called with."""
    if not torch.equal(given, x):
        raise UserError("the model writes into its input: x = x - mean makes a new tensor where x -= mean changes x")


def check_targets(y: Any, x: Tensor, classes: int | None = None) -> None:
    """Refuse labels that are no integers ``[B]`` in [0, classes), naming the first such label."""
    if not isinstance(y, Tensor):
        raise UserError(f"labels are a tensor, not {type(y).__name__}: torch.as_tensor makes one of an array or a list")
    if y.ndim == 0:
        raise UserError(f"labels are integers [B], one an image, not the single number {y.item():g}")
    if len(y) != len(x):
        raise UserError(f"{len(x)} images came with {len(y)} labels")
    if y.ndim == 2 and y.is_floating_point():
        return
    if y.ndim != 1 and y.shape[1:] != (2,):
        raise UserError(
            "labels are integers [B] (rows (label, class to reach) [B, 2] for a targeted loss, probabilities [B, K] "
            f"for a divergence), not {list(y.shape)}{_hint(y)}"
        )
    if y.dtype != torch.int64:
        raise UserError(f"labels are integers [B] of type int64, not {y.dtype}: y.long()")
    if classes is not None:
        wrong = ((y < 0) | (y >= classes)).view(len(y), -1)
        if wrong.any():
            index = int(wrong.any(1).nonzero()[0])
            label = int(y.view(len(y), -1)[index][wrong[index]][0])
            raise UserError(f"label {label} of image {index} is out of range: there are {classes} classes")


def check_labels(y: Any, x: Tensor) -> None:
    """Refuse what are no labels ``[B]`` of images to judge, and say what makes them of it."""
    check_targets(y, x)
    if y.ndim != 1:
        raise UserError(f"an evaluation takes labels [N], integers, not {y.dtype} {list(y.shape)}{_hint(y)}")


def _hint(y: Tensor) -> str:
    """What makes labels [B] of these."""
    if y.ndim != 2:
        return ""
    return ": y.squeeze(1)" if y.shape[1] == 1 else ": of one-hot rows or probabilities y.argmax(1)"

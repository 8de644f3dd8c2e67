"""What tells whether tensors, arrays or a record are those that were written? A digest of all that they say."""

import hashlib
import json
from typing import Any

import numpy as np
import torch


def digest_of_tensors(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> str:
    """Of names, types, shapes, bytes and the facts about them."""
    digest = hashlib.sha256(_canonical(facts))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_canonical([name, str(tensor.dtype), list(tensor.shape)]))
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def digest_of_bytes_alone(tensors: dict[str, torch.Tensor]) -> str:
    """What spikeproof kept before: of names and bytes, but of no types, shapes and facts."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(_bytes_of(tensors[name]))
    return digest.hexdigest()


def digest_of_arrays(arrays: dict[str, np.ndarray]) -> str:
    """Of names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(_canonical([name, arrays[name].dtype.str, list(arrays[name].shape)]))
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def digest_of_json(content: Any) -> str:
    """Of what JSON says, however it is laid out."""
    return hashlib.sha256(_canonical(content)).hexdigest()


def _canonical(content: Any) -> bytes:
    """One text for what JSON cannot tell apart, such as 1 and "1" as names."""
    once = json.loads(json.dumps(content, allow_nan=False))
    return json.dumps(once, sort_keys=True, separators=(",", ":")).encode()


def _bytes_of(tensor: torch.Tensor) -> bytes:
    content: bytes = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return content

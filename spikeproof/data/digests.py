"""Do two processes see the same images? A digest tells, without reading all of a large data set."""

import hashlib

import torch

from spikeproof.data.images import Images

LOOKED_AT = 1024  # images whose pixels count; of all others the labels do


def digest(images: Images) -> str:
    """A digest of all labels, and of the pixels of up to 1,024 images spread over the whole."""
    found = hashlib.sha256(images.labels.cpu().contiguous().numpy().tobytes())
    for indices in torch.linspace(0, len(images) - 1, min(len(images), LOOKED_AT)).long().split(64):
        found.update(images.batch(indices)[0].contiguous().numpy().tobytes())
    return found.hexdigest()

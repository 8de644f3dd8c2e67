"""How many events does one recording have more and less than another, and how many of these merely moved?"""

from typing import Any, NamedTuple


class EditCounts(NamedTuple):
    """Events that were added, removed, and moved in time."""

    added: Any
    removed: Any
    moved: Any


def edit_counts(more: Any, less: Any, most_moves: int | None = None) -> EditCounts:
    """The counts ``[...]`` from how many events each pixel and polarity has more, and how many less ``[..., n]``.

    Takes arrays or tensors. Within a pixel and polarity an event more and an event less are one move, of which there
    are as many as can be, or `most_moves`.
    """
    moved = (more - (more - less).clip(min=0)).sum(-1)
    moved = moved if most_moves is None else moved.clip(max=most_moves)
    return EditCounts(more.sum(-1) - moved, less.sum(-1) - moved, moved)

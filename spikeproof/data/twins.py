"""Is a file of the test part in the training part too, under another name? Found by its bytes, and said."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from spikeproof.whole_files import sha256_of


def warn_of_twins(train: Sequence[Path], test: Sequence[Path]) -> None:
    """Warn of test files that hold the same bytes as a training file; only files of equal sizes are read."""
    found = twins(train, test)
    if found:
        first, other = found[0]
        warnings.warn(
            f"{len(found):,} of {len(test):,} test files are in the training part too: {first} is {other}. "
            "Accuracy on them says nothing of new ones; delete one of each two",
            stacklevel=2,
        )


def twins(train: Sequence[Path], test: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each test file with the first training file that holds the same bytes."""
    sizes: dict[int, list[Path]] = {}
    for file in train:
        sizes.setdefault(file.stat().st_size, []).append(file)
    digests: dict[int, dict[str, Path]] = {}
    found = []
    for file in test:
        size = file.stat().st_size
        if size not in sizes:
            continue
        if size not in digests:
            digests[size] = {sha256_of(other): other for other in reversed(sizes[size])}
        if (twin := digests[size].get(sha256_of(file))) is not None:
            found.append((file, twin))
    return found

"""How fast are images decoded from their files, and does memory stay flat? `python -m benchmarks.image_folders`.

JPEGs like those of ImageNet, 500 x 375 pixels and about 100 KB, are painted into a temporary folder, and decoded as
training asks for them: in random order, in batches, by worker processes. Every number of workers has to give the same
bytes. Seconds are of the processor, of all processes, so other programs on the machine count less.
"""

import argparse
import hashlib
import io
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.records import write_json
from spikeproof.data.decoding import Decoder
from spikeproof.data.image_files import Crop, Images, images_in_files
from spikeproof.runs import environment
from spikeproof.runs.json_forms import as_json

SIZE = (500, 375)
SCALES = ((4, 0.7), (16, 0.4), (64, 0.3), (250, 0.3))  # random pictures of so many pixels a side, and their contrast
QUALITY = 92
BATCH = 256
POINTS = 20  # at which memory is looked at


def paint(folder: Path, count: int, size: tuple[int, int] = SIZE) -> Images:
    """`count` JPEGs of a random picture each: smooth, with more or less of finer and finer detail, as photos are."""
    draw = np.random.default_rng(0)
    names = [f"{number:06}.JPEG" for number in range(count)]
    for name in names:
        (folder / name).write_bytes(picture(draw, size))
    return images_in_files(folder, [(name, 0) for name in names], ("any",), size=224, resize=256)


def picture(draw: np.random.Generator, size: tuple[int, int]) -> bytes:
    whole = np.full((size[1], size[0], 3), 128.0, np.float32)
    detail = draw.uniform(0.5, 1.5)
    for side, contrast in SCALES:
        small = Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8))
        whole += (np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float32) - 128) * (contrast * detail)
    Image.fromarray(whole.clip(0, 255).astype(np.uint8)).save(found := io.BytesIO(), "JPEG", quality=QUALITY)
    return found.getvalue()


@dataclass(frozen=True)
class Epoch:
    """What it took to decode all images once; memory is that of all processes, what they share counted once."""

    workers: int
    crop: Crop
    images: int
    images_per_core_second: float
    images_per_second: float
    main_ms_per_batch: float
    memory_mib: list[float]
    sha256: str


def decoded(images: Images, workers: int, crop: Crop, batch: int = BATCH) -> Epoch:
    """One epoch after a first batch, for which the workers start."""
    pixels = type(images.pixels)(**{**vars(images.pixels), "crop": crop})
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    decoder, digest, memory = Decoder(pixels, workers), hashlib.sha256(), []
    before, own, wall = all_seconds(), time.process_time(), time.perf_counter()
    batches = order.split(batch)
    every = max(1, len(batches) // POINTS)
    looking = 0.0
    for number, pieces in enumerate(decoder.batches(batches, draw=0)):
        if number % every == 0:
            began = time.process_time()
            for piece in pieces:
                digest.update(piece.numpy())
            memory.append(sum(map(proportional_mib, processes(decoder))))
            looking += time.process_time() - began
    wall, own = time.perf_counter() - wall, time.process_time() - own - looking
    decoder.close()
    spent = all_seconds() - before - looking
    return Epoch(
        workers=workers,
        crop=crop,
        images=len(images),
        images_per_core_second=len(images) / spent,
        images_per_second=len(images) / wall,
        main_ms_per_batch=1e3 * own / len(batches),
        memory_mib=[round(each, 1) for each in memory],
        sha256=digest.hexdigest(),
    )


def all_seconds() -> float:
    """Seconds on the processor so far, of this process and of those of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def processes(decoder: Decoder) -> Iterator[int]:
    """This process and its workers."""
    yield os.getpid()
    running = getattr(decoder._loader, "_iterator", None)
    yield from (worker.pid for worker in getattr(running, "_workers", ()))


def proportional_mib(process: int) -> float:
    """Its memory, a page that several share counted in part (Linux)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measured(images: Images, workers: list[int], crops: tuple[Crop, ...] = ("centre", "random")) -> list[Epoch]:
    """All pairs; refuses numbers of workers that do not give the same bytes."""
    found = []
    for crop in crops:
        epochs = [decoded(images, number, crop) for number in workers]
        if len({epoch.sha256 for epoch in epochs}) > 1:
            raise SystemExit(f"{crop}: the bytes depend on the number of workers")
        found += epochs
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000, help="how many (default: %(default)s)")
    parser.add_argument("--workers", default="0,1,2", help="how many processes, separated by commas")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = paint(Path(folder), options.images)
        kib = statistics.mean(path.stat().st_size for path in Path(folder).iterdir()) / 1024
        print(f"{len(images):,} JPEGs of {SIZE[0]} x {SIZE[1]} pixels, {kib:.0f} KiB each on average", flush=True)
        epochs = measured(images, [int(number) for number in options.workers.split(",")])
    for epoch in epochs:
        half = epoch.memory_mib[len(epoch.memory_mib) // 2]
        print(
            f"{epoch.crop:6} crop, {epoch.workers} workers: {epoch.images_per_core_second:6.0f} images a core-second, "
            f"{epoch.images_per_second:6.0f} a second; main process {epoch.main_ms_per_batch:.0f} ms a batch; "
            f"memory {epoch.memory_mib[1]:.0f} MiB, {half:.0f} half way, {epoch.memory_mib[-1]:.0f} at the end"
        )
    if options.out:
        kept = {"size": SIZE, "kib": kib, "batch": BATCH, "epochs": [asdict(epoch) for epoch in epochs]}
        write_json(options.out, kept | {"environment": as_json(environment())})


if __name__ == "__main__":
    main()

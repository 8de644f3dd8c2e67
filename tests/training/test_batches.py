"""Are the batches of an epoch the same on the device, from any step on, and shared out without loss?"""

import torch

import spikeproof as sp
from spikeproof.training.batches import Batches, Share

CPU = torch.device("cpu")


def part() -> sp.Images:
    return sp.Digits(train_images=43).part("train")


def batches(**changes) -> Batches:
    return Batches(part(), **({"size": 8, "seed": 3, "device": CPU} | changes))


def test_an_epoch_has_every_image_once_in_an_order_of_its_own():
    epochs = [torch.cat([x for x, _ in batches().of(epoch)]) for epoch in (0, 1)]
    everything = part().batch(range(43))[0]
    for x in epochs:
        assert torch.equal(x.flatten(1).sum(1).sort().values, everything.flatten(1).sum(1).sort().values)
    assert not torch.equal(*epochs)
    assert len(batches()) == len(list(batches().of(0))) == 6


def test_a_last_image_alone_is_left_out():
    images = part().first(41)
    found = Batches(images, size=8, seed=0, device=CPU)
    assert len(found) == 5
    assert [len(y) for _, y in found.of(0)] == [8] * 5


def test_an_epoch_goes_on_from_any_step():
    whole = list(batches().of(2))
    for start in range(7):
        rest = list(batches().of(2, start))
        assert len(rest) == 6 - start
        for (x, y), (a, b) in zip(rest, whole[start:], strict=True):
            assert torch.equal(x, a)
            assert torch.equal(y, b)


def test_two_processes_see_what_one_sees_as_many_images_each():
    for size, last in ((8, 8), (6, 6), (19, 4)):  # of 43 images, 3, 1 and 5 are left for a last batch
        halves = [list(batches(size=size, share=Share(rank, 2)).of(1)) for rank in (0, 1)]
        assert len(halves[0]) == len(halves[1]) == len(batches(size=size, share=Share(0, 2)))
        assert 2 * len(halves[0][-1][1]) == last
        for (x, y), *parts in zip(batches(size=size).of(1), *halves, strict=False):
            for rank, (a, b) in enumerate(parts):
                assert len(a) >= len(x) // 2
                assert torch.equal(a, x[rank::2][: len(x) // 2])
                assert torch.equal(b, y[rank::2][: len(y) // 2])


def test_images_move_to_the_device_as_bytes():
    there = part().on(torch.device("meta"))
    x, y = there.take(torch.arange(5, device="meta"))
    assert there.pixels.stored.dtype == torch.uint8
    assert (x.device.type, y.device.type) == ("meta", "meta")
    assert (x.shape, x.dtype) == ((5, 1, 8, 8), torch.float32)
    assert len(there) == 43

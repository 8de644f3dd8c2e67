"""How is an evaluation done? One object that says so, checks itself, and is written down and read back."""

import dataclasses

import pytest
import torch

import spikeproof as sp
from spikeproof.configs import from_config, to_config

SUITE = sp.Suite(name="small", attacks=(sp.FGSM(),))


def test_threats_are_sorted_and_one_alone_needs_no_brackets():
    there = sp.Protocol(threats=[sp.Linf(0.1), sp.Linf(0.05)], suite=SUITE)
    assert there.threats == (sp.Linf(0.05), sp.Linf(0.1))
    assert there == sp.Protocol(threats=[sp.Linf(0.05), sp.Linf(0.1)], suite=SUITE)
    assert sp.Protocol(threats=sp.Linf(0.1)).threats == (sp.Linf(0.1),)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"threats": []}, "at least one threat"),
        ({"threats": [sp.Linf(0.1), sp.L2(0.1)]}, "differ in size only"),
        ({"threats": [sp.EventEdits(5), sp.EventEdits(9, add=2)]}, "differ in size only"),
        ({"threats": [sp.Linf(0.1), sp.Linf("1/10")]}, "same eps"),
        ({"threats": sp.EventFlips(5), "suite": "habit"}, "threats on images"),
        ({"threats": sp.Linf(), "images": 0}, "images of Protocol must be a whole number from 1 on or None, not 0"),
        ({"threats": sp.Linf(), "draws": 0}, "draws of Protocol must be a whole number from 1 on or None, not 0"),
        ({"threats": sp.Linf(), "seed": -1}, "seed of Protocol must be a whole number from 0 on, not -1"),
        (
            {"threats": sp.Linf(), "part": "tets"},
            "part of Protocol must be 'train' or 'validation' or 'test', not 'tets'",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_chosen(choices, said):
    with pytest.raises(sp.UserError, match=said):
        sp.Protocol(**choices)


def test_it_is_written_down_and_read_back():
    chosen = sp.Protocol(
        threats=[sp.Linf("8/255"), sp.Linf("2/255")],
        suite=sp.suite_named("standard"),
        part="validation",
        images=40,
        draws=3,
        seed=5,
    )
    again = from_config(to_config(chosen), sp.Protocol)
    assert again == chosen
    assert again.fingerprint == chosen.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"threats": sp.Linf(0.2)},
        {"suite": sp.Suite(name="small", attacks=(sp.PGD(steps=2),))},
        {"part": "validation"},
        {"images": 3},
        {"draws": 2},
        {"seed": 1},
        {"attack_precision": "bf16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_tells_every_choice_apart(change):
    chosen = sp.Protocol(threats=sp.Linf(0.1), suite=SUITE)
    assert dataclasses.replace(chosen, **change).fingerprint != chosen.fingerprint
    assert dataclasses.replace(chosen).fingerprint == chosen.fingerprint


def test_it_takes_the_first_images_of_whatever_is_given():
    protocol = sp.Protocol(threats=sp.Linf(0.1), suite=SUITE, part="validation", images=7)
    part = sp.Digits().part("validation")
    x, y = part.batch(torch.arange(7))
    for data in (sp.Digits(), part, part.batch(torch.arange(20))):
        pool = protocol.pool(data)
        assert len(pool) == 7
        assert torch.equal(pool.batch(torch.arange(7))[0], x)
        assert torch.equal(pool.labels, y)


def test_more_images_than_there_are_are_refused():
    protocol = sp.Protocol(threats=sp.Linf(0.1), suite=SUITE, images=9999)
    with pytest.raises(sp.UserError, match="the test part has 360 images: take 1 to 360, not 9999"):
        protocol.pool(sp.Digits())
    with pytest.raises(sp.UserError, match="there are 5 images: take 1 to 5, not 9999"):
        protocol.pool((torch.rand(5, 1, 8, 8), torch.zeros(5, dtype=torch.long)))

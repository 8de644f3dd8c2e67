"""Are repairs counted, said and bounded, other codings and units named, and recordings without a frame refused?"""

import fcntl
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeproof.choices import UserError
from spikeproof.data import EventFolder, Events, Framing, Sensor, SpikeFile, write_events
from spikeproof.data.events import hdf5_reader
from spikeproof.data.events.asked import Asked
from spikeproof.data.events.gestures import labels_of
from spikeproof.data.events.streams import checked

SENSOR = Sensor(height=4, width=6)


def columns(count: int = 1000, seed: int = 0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 10**6, count))
    return t, random.integers(0, 6, count), random.integers(0, 4, count), random.integers(0, 2, count)


def of(*those: np.ndarray, repair: bool = True) -> Events:
    return checked(*those, SENSOR, "a file", repair=repair)


@pytest.mark.parametrize("count", [6, 1000])
@pytest.mark.parametrize(
    ("coded", "said"),
    [
        (lambda p: 2 * p - 1, r"\(p \+ 1\) // 2 makes 0 and 1"),
        (lambda p: (2 * p - 1).astype(np.int8).view(np.uint8), r"\(p == 1\) makes 0 and 1"),
        (lambda p: 255 * p, "p // 255 makes 0 and 1"),
        (lambda p: p + 1, "p - 1 makes 0 and 1"),
    ],
)
def test_polarities_of_another_coding_are_named_and_never_dropped(coded, said: str, count: int) -> None:
    t, x, y, p = columns(count)
    for repair in (False, True):
        with pytest.raises(UserError, match=said):
            of(t, x, y, coded(p), repair=repair)


def test_repairs_are_counted() -> None:
    t, x, y, p = columns()
    x[[3, 50]], p[70] = 99, 7
    t[[200, 201]] = t[[201, 200]] if t[200] < t[201] else t[[201, 200]] + np.array([1, 0])
    found = of(t, x, y, p)
    assert found.repairs is not None
    assert (found.repairs.events, found.repairs.left_out, found.repairs.moved) == (1000, 3, 1)
    assert str(found.repairs) == "of 1,000 events 3 were left out and 1 put in the order of time"
    assert not of(*columns()).repairs
    assert of(*columns(), repair=False).repairs is None


@pytest.mark.parametrize("count", [100, 1000])
def test_more_than_a_tenth_is_beyond_repair(count: int) -> None:
    t, x, y, p = columns(count)
    x[: count // 2] = 99
    with pytest.raises(
        UserError, match=rf"a file: {count // 2} of {count:,} events are wrong, more than repair leaves"
    ):
        of(t, x, y, p)


@pytest.mark.parametrize("count", [8, 300])
@pytest.mark.parametrize("late", [2**16, 2**20, 2**31])
@pytest.mark.parametrize("place", [0.0, 0.5])
def test_one_late_time_is_left_out_and_does_not_stretch_the_recording(count: int, late: int, place: float) -> None:
    t = np.sort(np.random.default_rng(1).integers(0, 30, count))
    _, x, y, p = columns(count)
    expected = np.delete(t, int(place * count))
    t[int(place * count)] += late
    found = of(t, x, y, p)
    assert found.t.tolist() == expected.tolist()
    assert found.repairs is not None
    assert found.repairs.left_out == 1


def test_times_that_lie_in_two_runs_are_sorted_and_all_kept() -> None:
    t, x, y, p = columns()
    found = of(np.roll(t, 400), x, y, p)
    assert found.t.tolist() == t.tolist()
    assert found.repairs is not None
    assert (found.repairs.left_out, found.repairs.moved) == (0, 400)


@pytest.mark.parametrize("factor", [10**6, 10**9])
def test_a_recording_of_more_than_a_day_is_of_other_units(factor: int) -> None:
    t, x, y, p = columns()
    with pytest.raises(UserError, match="hours: times are us, and these look like ns"):
        of(t * factor, x, y, p)
    assert of(t + 1_700_000_000_000_000, x, y, p).t[0] > 10**15  # the clock itself may be of 1970


def folder(root: Path, change=lambda t, x, y, p: (t, x, y, p)) -> Path:
    for number in range(12):
        place = root / "Recordings" / ("left" if number % 2 else "right")
        place.mkdir(parents=True, exist_ok=True)
        t, x, y, p = change(*columns(200, number))
        np.savez(place / f"{number}.npz", t=t, x=x, y=y, p=p)
    return root


def data(**fields) -> EventFolder:
    fixed = {"folder": "Recordings", "classes": ("left", "right"), "sensor": SENSOR}
    return EventFolder(**{**fixed, "validation_images": 2, "test_images": 2, **fields})


@pytest.mark.parametrize(
    ("framing", "change"),
    [
        (Framing(span=10_000, since="zero"), lambda t, x, y, p: (t + 1_700_000_000_000_000, x, y, p)),
        (Framing(crop=(2, 2)), lambda t, x, y, p: (t, 0 * x, y, p)),
        (Framing(span=1, since="zero"), lambda t, x, y, p: (t + 11, x, y, p)),
    ],
)
def test_a_recording_without_an_event_in_any_frame_is_refused_by_its_name(framing, change, tmp_path: Path) -> None:
    part = data(framing=framing).part("train", folder(tmp_path, change))
    with pytest.raises(UserError, match=r"\d+\.npz: none of 200 events, from [\d,]+ to [\d,]+ us, is in a frame of"):
        part.batch([0])


def test_a_data_set_says_what_repair_did(tmp_path: Path) -> None:
    def wrong(t, x, y, p):
        x[3] = 77
        return t, x, y, p

    part = data(repair=True).part("train", folder(tmp_path, wrong))
    with pytest.warns(UserWarning, match=r"\d+\.npz: repaired: of 200 events 1 were left out and 0 put"):
        part.batch([0])


def test_what_killed_writers_left_is_swept_and_what_others_write_is_not(tmp_path: Path) -> None:
    left, other, third = (tmp_path / f".{name}.npz" for name in ("a.npz.killed_1", "a.npz.busy___1", "b.npz.killed_1"))
    for file in (left, other, third):
        file.write_bytes(b"half")
    with other.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write_events(tmp_path / "a.npz", of(*columns()))
    assert {file.name for file in tmp_path.iterdir()} == {"a.npz", other.name, third.name}
    write_events(tmp_path / "a.npz", of(*columns()))
    assert {file.name for file in tmp_path.iterdir()} == {"a.npz", third.name}


def spikes(path: Path, factor: float, **packing) -> Path:
    with h5py.File(path, "w") as file:
        for name, kind, values in (("times", "f8", np.linspace(0.1, 0.9, 5) * factor), ("units", "i8", np.arange(5))):
            data = file.create_dataset(f"spikes/{name}", (1,), h5py.vlen_dtype(np.dtype(kind)))
            data[0] = values
        file.create_dataset("labels", data=np.array([3]), **packing)
    return path


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9])
def test_times_of_spikes_in_other_units_are_refused(factor: float, tmp_path: Path) -> None:
    assert len(SpikeFile(spikes(tmp_path / "s.h5", 1))[0]) == 5
    with pytest.raises(UserError, match="they are s, 100 at most: these look like ms, us or ns"):
        SpikeFile(spikes(tmp_path / "other.h5", factor))[0]


def test_a_filter_that_is_not_there_is_named_and_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spikes(tmp_path / "s.h5", 1, chunks=(1,), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with h5py.File(path, "r") as file:
        said = hdf5_reader.about(file, ["spikes/times", "spikes/units", "labels"])
    assert said["filters"] == {"labels": "1 (deflate)"}
    monkeypatch.setattr(Asked, "about", lambda asked: said)
    with pytest.raises(UserError, match=r"labels is packed by the HDF5 filter 1 \(deflate\), which is not installed"):
        SpikeFile(path)


def test_a_byte_order_mark_is_no_part_of_a_title(tmp_path: Path) -> None:
    labels = tmp_path / "user01_led_labels.csv"
    labels.write_text("class,startTime_usec,endTime_usec\n2,10,20\n", encoding="utf-8-sig")
    assert labels_of(tmp_path / "user01_led.aedat") == [1]

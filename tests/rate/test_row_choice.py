"""Which rows of a batch drive a rule: all have their turn, and the choice can be repeated."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.rate.convolution import _places, _some_images
from neuro_decorr.row_choice import offset, spaced


@given(st.integers(0, 10**7), st.integers(1, 10**6), st.integers(1, 4), st.data())
def test_turns_follow_powers_of_the_irrational_number(turn: int, size: int, axes: int, data: st.DataObject) -> None:
    """Against the root of g^(m + 1) = g + 1 by bisection in exact fractions; tensors and numbers agree."""
    axis = data.draw(st.integers(0, axes - 1), "axis")
    low, high = Fraction(1), Fraction(2)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle ** (axes + 1) < middle + 1 else (low, middle)
    exact = turn * low ** -(axis + 1) % 1 * size
    found = offset(turn, size, axis, axes)
    assert found == int(offset(torch.tensor(turn), size, axis, axes)) and 0 <= found < size
    rounding = Fraction(turn * size, 2**32) + 1  # the number has 32 bits
    distance = abs(found - exact)
    assert min(distance, size - distance) <= rounding


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(1, 9), st.integers(1, 200), st.integers(0, 10**6)
)
def test_places_are_places_of_the_map_each_once(sizes: list[int], images: int, rows: int, turn: int) -> None:
    places = _places(sizes, images, rows, turn)
    number = math.prod(taken.shape[1] for taken in places)
    step = max(1, round((math.prod(sizes) / max(1, rows // images)) ** (1 / len(sizes))))
    assert number == math.prod(max(1, round(size / min(step, size))) for size in sizes)
    for size, taken in zip(sizes, places, strict=True):
        assert len(taken) == images and int(taken.min()) >= 0 and int(taken.max()) < size
        for row in taken.tolist():
            gaps = [(after - before) % size for before, after in zip(row, row[1:] + row[:1], strict=True)]
            assert len(set(row)) == len(row) and (len(row) == 1 or max(gaps) - min(gaps) <= 1)
    if rows >= images * math.prod(sizes):
        everywhere = sorted(product(*map(range, sizes)))
        assert all(
            sorted(product(*(taken[image].tolist() for taken in places))) == everywhere for image in range(images)
        )
    in_graph = _places(sizes, images, rows, torch.tensor(turn))
    assert all(torch.equal(one, other) for one, other in zip(places, in_graph, strict=True))


@pytest.mark.parametrize(
    ("shape", "rows"), [((40, 1, 16), 64), ((40, 1, 6, 5), 64), ((20, 1, 1, 1), 9), ((12, 1, 3, 4, 2), 16)]
)
def test_every_place_of_every_image_has_its_turn(shape: tuple[int, ...], rows: int) -> None:
    """Images and places are chosen together: an image of which only some places have a turn would be found here."""
    images, _, *sizes = shape
    turns = 60 * math.prod(shape) // rows
    counts: Counter[tuple[int, ...]] = Counter()
    of_images = torch.arange(images).view(-1, *[1] * (len(shape) - 1)).expand(shape)
    for turn in range(turns):
        chosen = _some_images(of_images, rows, math.prod(sizes), turn).flatten(1)[:, 0].tolist()
        places = _places(sizes, len(chosen), rows, turn)
        for row, image in enumerate(chosen):
            counts.update((image, *place) for place in product(*(taken[row].tolist() for taken in places)))
    shares = [counts[image, *place] for image in range(images) for place in product(*map(range, sizes))]
    assert sum(shares) == counts.total()
    mean = sum(shares) / len(shares)
    assert mean > 30 and min(shares) / mean > 0.7 and max(shares) / mean < 1.3  # of 60 or so, evenly spaced


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 10**6))
def test_rows_of_signals_are_evenly_spaced(size: int, most: int, turn: int) -> None:
    rows: list[int] = spaced(torch.arange(size), most, turn).tolist()
    assert len(rows) == len(set(rows)) == min(size, most)
    gaps = [(after - before) % size for before, after in zip(rows, rows[1:] + rows[:1], strict=True)]
    assert len(rows) == 1 or max(gaps) - min(gaps) <= 1


def remembered(layer: nd.Decorrelation, batch: Tensor) -> Tensor:
    layer(batch)
    record = layer.take_record()
    assert record is not None
    return record.inputs


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1, groups=2)], ids=["dense", "grouped"]
)
def test_every_position_drives_the_rule_as_often_as_any_other(layer: nn.Conv2d) -> None:
    """The value of a pixel tells its place, so that the middle of a patch tells where the patch was cut out."""
    size, images, steps = 10, 20, 300
    channels = layer.in_channels
    model = nd.decorrelate(layer, center=False)
    plasticity = nd.Plasticity(model, nd.rules.get("center"))
    places = torch.arange(1.0, size**2 + 1).view(1, 1, size, size).expand(images, channels, size, size)
    counts = torch.zeros(size**2)
    held = model.get_submodule("decorrelation")
    assert isinstance(held, nd.Decorrelation)
    for update in range(steps):
        model(places)
        record = held.take_record()
        assert record is not None
        middle = record.inputs[..., record.inputs.shape[-1] // 2].long().flatten() - 1
        counts += torch.bincount(middle, minlength=size**2)
        held.memory.set_updates(update + 1)
    assert plasticity.rule.name == "center"
    share = counts / counts.mean()
    assert float(share.min()) > 0.8 and float(share.max()) < 1.2  # evenly spaced, not only equal on average


@pytest.mark.parametrize("form", ["patches", "channels"])
@pytest.mark.parametrize("groups", [1, 2])
def test_passes_without_a_step_hear_other_places_of_the_images(form: str, groups: int) -> None:
    """The value of a pixel tells its image and place; 25 passes of 8 rows hear as many of 200 as by chance, 126."""
    model = nd.decorrelate(nn.Conv2d(2, 2, 1, groups=groups), center=False, convolution=form)
    held, maps = model.get_submodule("decorrelation"), torch.arange(200.0).view(8, 1, 5, 5).expand(8, 2, 5, 5)
    assert isinstance(held, nd.Decorrelation)
    held.row_fraction = 1e-3
    for _ in range(25):
        model(maps)
    record = held.take_record()
    assert record is not None and record.inputs.shape[-2] == 25 * 8
    counts = torch.bincount(record.inputs[..., 0].long().view(groups, -1)[-1], minlength=200)
    assert int(counts.max()) <= 3 and int((counts > 0).sum()) >= 120


@pytest.mark.parametrize("rows", [1, 7, 40, 128, 250])
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.75, 1.0])
def test_training_on_one_batch_hears_every_row_as_often_as_any_other(rows: int, fraction: float) -> None:
    """Of any size: also the rows after the last whole stride."""
    layer = nd.Decorrelation(1, center=False, row_fraction=fraction)
    batch = torch.arange(float(rows)).unsqueeze(1)
    kept = min(rows, int(fraction * rows) + 1)
    counts = torch.zeros(rows)
    for update in range(600):
        layer.memory.set_updates(update)
        heard = remembered(layer, batch)
        assert len(heard.unique()) == len(heard) == kept
        counts += torch.bincount(heard.flatten().long(), minlength=rows)
    share = counts / counts.mean()
    assert float(share.min()) > 0.85 and float(share.max()) < 1.15


@pytest.mark.parametrize("rows", [40, 128])
def test_a_row_is_heard_as_often_as_any_other_step_by_step(rows: int) -> None:
    """A network that runs step by step remembers other examples at every step, before the first update too."""
    layer = nd.Decorrelation(1, center=False, row_fraction=0.1)
    batch, kept = torch.arange(float(rows)).unsqueeze(1), rows // 10 + 1
    steps = 1000 // kept  # no more than a memory keeps
    for _ in range(steps):
        layer(batch)
    record = layer.take_record()
    assert record is not None
    counts = torch.bincount(record.inputs.flatten().long(), minlength=rows)
    assert int(counts.sum()) == steps * kept
    assert int(counts.max()) - int(counts.min()) <= kept  # at most one more a remembered row


@pytest.mark.parametrize(("rows", "fraction", "passes"), [(64, 0.1, 1000), (128, 0.1, 400), (30, 0.6, 200)])
def test_rows_that_stay_of_many_passes_are_of_all_of_them(rows: int, fraction: float, passes: int) -> None:
    """Against a choice by chance: if every pass thinned out the same places, the first passes would always stay."""
    layer, batch = nd.Decorrelation(1, center=False, row_fraction=fraction), torch.arange(float(rows)).unsqueeze(1)
    total = torch.zeros(passes)
    for update in range(4):
        layer.memory.set_updates(update)
        for number in range(passes - 1):
            layer(batch + rows * number)
        heard = remembered(layer, batch + rows * (passes - 1)).flatten().long()
        assert len(heard) == len(heard.unique()) == 1024
        counts = torch.bincount(heard // rows, minlength=passes)
        tenths = counts.view(10, -1).sum(dim=1)
        assert (
            int(tenths.min()) > 92 and int(tenths.max()) < 113
        )  # of 102.4, with a standard deviation of 9.6 by chance
        total += counts
    mean = float(total.mean())
    assert float(total.max()) < mean + 5 * math.sqrt(mean)


def test_rows_go_on_where_they_were_after_a_state_is_loaded() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(40, 3, generator=generator)

    def made() -> tuple[nd.Decorrelation, nd.Plasticity]:
        layer = nd.Decorrelation(3, row_fraction=0.1)
        return layer, nd.Plasticity(layer, nd.rules.get("norm_preserving"))

    def train(layer: nd.Decorrelation, plasticity: nd.Plasticity, steps: int) -> None:
        for _ in range(steps):
            layer(batch)
            plasticity.step()

    through, theirs = made()
    train(through, theirs, 7)
    resumed, ours = made()
    resumed.load_state_dict(through.state_dict())
    ours.load_state_dict(theirs.state_dict())
    train(through, theirs, 5)
    train(resumed, ours, 5)
    assert torch.equal(through.matrix, resumed.matrix)

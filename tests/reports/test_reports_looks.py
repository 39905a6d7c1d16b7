"""The looks of series: no two alike, and the four that matter are told apart by colour-blind eyes, by computation."""

import itertools

import pytest

from bench.model.collectives import COLLECTIVES
from bench.model.units import show_figure
from reports.theme import FIRST, looks

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
BLINDNESS = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)
APART = 30  # CIE 1976 colour difference; 2.3 is just noticeable side by side


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def lab(colour, blindness):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    seen = [min(1.0, max(0.0, x)) for x in times(BLINDNESS[blindness], linear)]
    x, y, z = (
        v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116
        for v in (a / b for a, b in zip(times(TO_XYZ, seen), WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_the_first_four_are_told_apart_by_every_eye(blindness):
    for one, other in itertools.combinations(FIRST.values(), 2):
        a, b = lab(one, blindness), lab(other, blindness)
        apart = sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5
        assert apart >= APART, f"{one} and {other} differ by {apart:.0f} with {blindness}"


@pytest.mark.parametrize(
    "names",
    [
        [*COLLECTIVES, "all_reduce (ring)", "all_gather (ring)", "all_reduce (inside a node)", "copy_device"],
        [f"p2p on rail {at}" for at in range(36)],
    ],
)
def test_no_two_series_look_alike(names):
    found = looks(names)
    assert list(found)[: len(FIRST)] == [name for name in FIRST if name in names] or not set(FIRST) & set(
        names
    )
    assert set(found) == set(names)
    assert len(set(found.values())) == len(set(names)) >= 13


@pytest.mark.parametrize(
    ("value", "text"),
    [(10580.4, "10,580"), (1058.04, "1,058"), (46.9, "46.9"), (0.01234, "0.01234"), (float("nan"), "nan")],
)
def test_a_figure_is_written_as_people_write_it(value, text):
    assert show_figure(value) == text

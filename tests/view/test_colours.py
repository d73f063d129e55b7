"""The colours of the page: that text can be read on them, and that colour-blind people tell them apart."""

import itertools
import re
from pathlib import Path

import numpy
import pytest

pytestmark = pytest.mark.own

SOURCES = Path(__file__).resolve().parents[2] / "view" / "src"
PALETTE, STYLE = (SOURCES / "palette.js").read_text(), (SOURCES / "style.css").read_text()

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency", the
# table's rows of full deficiency; on linear values of red, green and blue.
SIGHTS = {
    "all": numpy.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
WHITE = (0.9505, 1.0, 1.089)

# By WCAG 2.2: of text that is not large (1.4.3), and of what a chart is made of (1.4.11).
READABLE, VISIBLE = 4.5, 3.0
# Units of CIELAB; from 10 on colours that are apart on a screen are still told to be two.
DISTINCT = 15.0


def linear(colour):
    values = numpy.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return numpy.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(float(linear(colour) @ TO_XYZ[1]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def distance(one, other, sight):
    def lab(colour):
        xyz = numpy.array(TO_XYZ) @ numpy.clip(numpy.array(SIGHTS[sight]) @ linear(colour), 0, 1) / WHITE
        x, y, z = numpy.where(xyz > 216 / 24389, numpy.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
        return numpy.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    return float(numpy.linalg.norm(lab(one) - lab(other)))


def mixed(colour, other, part):
    values = zip(bytes.fromhex(colour[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{round(part * one + (1 - part) * two):02x}" for one, two in values)


def kinds():
    """Of each kind of task: its colour, its texture, and the colour of text on it."""
    found = re.findall(r'(\w): \{ name: "[^"]+", fill: "(#\w{6})", texture: "(\w*)", ink: "(#\w{6})" \}', PALETTE)
    assert len(found) == 7
    return {kind: rest for kind, *rest in found}


def stages():
    """The colours of stages, with that of the text on each."""
    colours = re.findall(r"#\w{6}", re.search(r"STAGES = \[(.*)\]", PALETTE)[1])
    numbers, inside, outside = re.search(r'\[([\d, ]+)\]\.includes.*\? "(#\w+)" : "(#\w+)"', PALETTE).groups()
    light = set(map(int, numbers.split(",")))
    return {colour: inside if index in light else outside for index, colour in enumerate(colours)}


def themes():
    """Of light and dark what the variables are."""
    blocks = re.findall(r"color-scheme: (\w+);((?:\s*--\w+: #\w{6};)+)", STYLE)
    found = [(name, dict(re.findall(r"--(\w+): (#\w{6})", body))) for name, body in blocks]
    light, dark, again = found
    assert dark == again, "as the system asks for it and as the button does"
    assert (light[0], dark[0]) == ("light", "dark")
    return dict([light, dark])


def test_text_on_tasks_and_stages_can_be_read():
    for colour, ink in [(fill, ink) for fill, _, ink in kinds().values()] + list(stages().items()):
        assert contrast(colour, ink) >= READABLE, colour


@pytest.mark.parametrize("sight", SIGHTS)
def test_kinds_of_tasks_differ_in_colour_or_texture(sight):
    for (one, (fill, texture, _)), (other, (its, its_texture, _)) in itertools.combinations(kinds().items(), 2):
        assert texture != its_texture or distance(fill, its, sight) >= DISTINCT, (one, other)


@pytest.mark.parametrize("sight", SIGHTS)
def test_stages_differ_in_colour(sight):
    for one, other in itertools.combinations(stages(), 2):
        assert distance(one, other, sight) >= DISTINCT, (one, other)


@pytest.mark.parametrize("name", themes())
def test_text_can_be_read_on_every_ground(name):
    theme = themes()[name]
    parts = re.findall(r"\.t-\w+ \{ color: color-mix\(in srgb, (#\w{6}) (\d+)%, var\(--text\)\)", STYLE)
    assert len(parts) == 4
    code = [mixed(colour, theme["text"], int(percent) / 100) for colour, percent in parts]
    words = [theme[one] for one in ("text", "quiet", "accent", "link")]
    for ground in ("ground", "raised", "lane", "come", "gone", "mark"):
        for colour in words + code:
            assert contrast(colour, theme[ground]) >= READABLE, (colour, ground)
    for shape in ("pause", "level", "accent"):  # bars, and what marks the focus
        assert contrast(theme[shape], theme["lane"]) >= VISIBLE, shape


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", themes())
def test_what_came_differs_from_what_went(name, sight):
    theme = themes()[name]
    assert distance(theme["come"], theme["gone"], sight) >= DISTINCT

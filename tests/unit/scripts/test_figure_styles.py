"""What the figures share: colours, letters, axes and lines of text."""

import importlib
import warnings

import numpy as np
import pytest
from matplotlib import font_manager, get_data_path, rcParams
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from scripts.pictures import styles
from scripts.pictures.styles import OKABE_ITO, broken, time_axis


@pytest.mark.parametrize("colour", OKABE_ITO)
def test_every_colour_is_seen_on_white(colour):
    """Contrast with white (WCAG 2): yellow has 1.3."""
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    assert 1.05 / (np.dot([0.2126, 0.7152, 0.0722], light) + 0.05) > 2


def test_letters_that_the_usual_font_lacks_come_from_another_one(monkeypatch):
    """As Chinese ones do; here an s with a hook, of a font under the name of one that has them."""
    path = f"{get_data_path()}/fonts/ttf/STIXGeneral.ttf"
    font = font_manager.FontEntry(fname=path, name="Noto Sans CJK SC")
    known = [*font_manager.fontManager.ttflist, font]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", known)
    monkeypatch.setitem(rcParams, "font.family", ["sans-serif"])
    importlib.reload(styles)
    figure = Figure()
    figure.suptitle("\u1d8a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()


def test_times_are_hours_or_for_short_series_seconds():
    times, unit = time_axis(24, 0.5)
    assert unit == "hours" and times[[0, -1]].tolist() == [0.0, 11.5]
    times, unit = time_axis(300, 1 / 250 / 3600)  # one heart beat at 250 Hz
    assert unit == "seconds" and times[250] == pytest.approx(1.0)


def test_lines_are_broken_after_blanks_and_underscores():
    assert broken("heart_rate", 18) == "heart_rate"
    assert broken("fraction_of_inspired_oxygen", 18) == "fraction_of_\ninspired_oxygen"
    assert broken("guided minus unguided, died", 22) == "guided minus unguided,\ndied"

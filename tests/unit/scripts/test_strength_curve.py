"""The guidance-scale curve shows every strength that was tried, and the one that was chosen."""

import pytest

from scripts.pictures.strength_curve import scale_figure, scale_points


def point(w, auroc, cfg_scale=1.0, **changes):
    return {
        "w": w,
        "cfg_scale": cfg_scale,
        "realised": [w * 0.9, w * 1.3],
        "auroc": auroc,
        "auroc_sd": 0.01,
        "auprc": auroc / 2,
        "auprc_sd": 0.02,
    } | changes


def content(points, chosen=(0.5, 1.0)):
    return {
        "selection": "val_select",
        "seeds": [0, 1, 2],
        "points": points,
        "chosen": {"w": chosen[0], "cfg_scale": chosen[1]},
    }


def lines(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def test_every_strength_is_drawn_in_order_and_the_choice_is_marked():
    figure = scale_figure(content([point(1.0, 0.74), point(0.0, 0.70), point(0.5, 0.76)]))
    realised, auroc, auprc = figure.axes
    drawn = auroc.containers[0].lines[0]
    assert list(drawn.get_xdata()) == [0.0, 0.5, 1.0]
    assert list(drawn.get_ydata()) == [0.70, 0.76, 0.74]
    shifts = lines(realised, "classifier-free scale 1")[0]
    assert list(shifts.get_ydata()) == pytest.approx([0.0, 0.55, 1.1])
    (star,) = lines(auroc, "chosen")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.5, 0.76)
    assert lines(auprc, "chosen")[0].get_ydata()[0] == 0.38
    assert "val_select" in auroc.get_ylabel() and "3 seeds" in figure.get_suptitle()


def test_scales_of_classifier_free_guidance_are_lines_of_their_own():
    tried = [point(w, 0.7 + w / 10, cfg) for cfg in (2.0, 1.0) for w in (0.5, 0.0)]
    figure = scale_figure(content(tried, chosen=(0.0, 2.0)))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"classifier-free scale 1", "classifier-free scale 2", "chosen"} == set(names)
    points = scale_points(content(tried))
    assert list(zip(points["cfg_scale"], points["w"], strict=True)) == [
        (1.0, 0.0),
        (1.0, 0.5),
        (2.0, 0.0),
        (2.0, 0.5),
    ]


def test_one_seed_has_no_spread():
    one = point(0.5, 0.7, auroc_sd=None, auprc_sd=None)
    figure = scale_figure(content([one]) | {"seeds": [0]})
    assert "no error bars" in figure.get_suptitle()

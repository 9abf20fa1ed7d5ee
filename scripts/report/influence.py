"""How much each series would help the task classifier: the influence of guided and unguided sets.

Read from what the stages before left (classifier, cached guidance gradient); where that is absent
the section says how to get it. Influence is the guide's own opinion, not a proof of usefulness.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from classifier.train import checkpoint_path
from configs.run_record import run_dir
from configs.runtime.device import pick_device
from configs.runtime.errors import UserError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.splits import Splits
from scripts.quality.common.comparison import draw
from scripts.quality.common.metric_report import Z95
from scripts.report.figures import Styles, shared_legend, tidy
from scripts.report.page import Picture, Section
from scripts.utility.protocols import Series
from scripts.utility.summary import UNGUIDED
from tardiff.generate import configured_settings, influence_inputs
from tardiff.guidance.diagnostics import score_all

MAX_STAYS = 2000  # of each set
MOST_BINS = 50
TAIL = 0.005
TITLE = "Influence"


def influence_section(
    config: ExperimentConfig, splits: Splits, sets: Mapping[str, Series], styles: Styles
) -> Section:
    """The distribution of the influence of every set, or what is needed to show it."""
    missing = _missing(config)
    if missing:
        how = "bash classifier/train.sh and bash generation.sh make them"
        text = f"Not shown: {' and '.join(missing)} not found; {how}."
        return Section(TITLE, [text])
    try:
        scores = influence_scores(config, splits, sets)
    except UserError as error:
        return Section(TITLE, [f"Not shown: {error}"])
    text = (
        "The score that guidance climbs: how much training on a series would lower the "
        "classifier's loss on the guidance rows, by its own estimate. In standard deviations of "
        "the first set, per class."
    )
    return Section(TITLE, [text], [influence_picture(scores, splits.train.label_names, styles)])


def influence_scores(
    config: ExperimentConfig, splits: Splits, sets: Mapping[str, Series]
) -> dict[str, tuple[Float[np.ndarray, " n"], np.ndarray]]:
    """(influence, label) of at most MAX_STAYS series of each set.

    Raises:
        UserError: the classifier belongs to other data.
    """
    device = pick_device(config.accelerator)
    inputs = influence_inputs(config, splits, device)
    direction = inputs.direction(configured_settings(config)).direction
    seed, scores = config.evaluation.seeds[0], {}
    for name, series in sets.items():
        rows = draw(len(series), MAX_STAYS, seed)
        x, y = torch.from_numpy(series.x[rows]), torch.from_numpy(series.y[rows])
        scores[name] = (score_all(direction, x, y, device).numpy(), series.y[rows])
    return scores


def influence_picture(
    scores: Mapping[str, tuple[np.ndarray, np.ndarray]],
    label_names: tuple[str, ...],
    styles: Styles,
) -> Picture:
    """One panel per class; the unit is the class's s.d. of the first set (`unguided` if there)."""
    base = UNGUIDED if UNGUIDED in scores else next(iter(scores))
    figure = Figure(figsize=(7.2, 0.9 + 2.0 * len(label_names)), layout="constrained")
    panels = list(figure.subplots(len(label_names), 1, squeeze=False).ravel())
    conclusions = []
    for label, (panel, class_name) in enumerate(zip(panels, label_names, strict=True)):
        scaled = _natural(scores, base, label)
        pooled = np.concatenate(list(scaled.values()))
        low, high = np.quantile(pooled, [TAIL, 1 - TAIL])
        bins = min(MOST_BINS, 2 + int(np.sqrt(min(map(len, scaled.values())))))
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
        for name, values in scaled.items():
            density, _ = np.histogram(values, edges, density=True)
            colour, dash = styles.colour(name), styles.dash(name)
            panel.stairs(density, edges, linewidth=1.8, label=name, color=colour)
            panel.axvline(values.mean(), linewidth=1.2, color=colour, linestyle=dash)
        panel.set_title(f"class {class_name}", fontsize=9, loc="left")
        panel.set_yticks([])
        tidy(panel)
        conclusions += [
            f"{name}, {class_name}: {_shift(values, scaled[base])}."
            for name, values in scaled.items()
            if name != base
        ]
    panels[-1].set_xlabel(f"influence, s.d. of {base} above its mean")
    shared_legend(figure, panels[0])
    shifts = " ".join(conclusions) or f"Only {base} was scored: there is nothing to compare with."
    return Picture(
        "influence",
        figure,
        f"Histograms of influence per class for {', '.join(scores)}",
        f"Shift of the mean influence against {base} in its s.d., with 95 % interval. {shifts}",
    )


def _natural(
    scores: Mapping[str, tuple[np.ndarray, np.ndarray]], base: str, label: int
) -> dict[str, np.ndarray]:
    own = scores[base][0][scores[base][1] == label].astype(np.float64)
    spread = max(float(own.std()), np.finfo(float).tiny)
    return {
        name: (values[labels == label].astype(np.float64) - own.mean()) / spread
        for name, (values, labels) in scores.items()
    }


def _shift(values: np.ndarray, base: np.ndarray) -> str:
    mean = float(values.mean() - base.mean())
    error = Z95 * float(np.sqrt(values.var() / len(values) + base.var() / len(base)))
    if mean - error > 0:
        reading = "higher"
    elif mean + error < 0:
        reading = "lower"
    else:
        reading = "no difference can be seen"
    return f"{mean:+.2f} [{mean - error:+.2f}, {mean + error:+.2f}], {reading}"


def _missing(config: ExperimentConfig) -> list[str]:
    classifier, cached = checkpoint_path(config), run_dir(config) / "influence"
    missing = [] if classifier.is_file() else [str(classifier)]
    return missing if any(cached.glob("*.pt")) else [*missing, f"{cached}/*.pt"]

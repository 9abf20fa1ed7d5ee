"""How few steps of the sampler lose nothing: sets of one trained model at several numbers of steps.

    python -m benchmarks.few_steps CONFIG [key=value ...] [--steps 4 6 8 10 12 15 25] [--w 0.3]

Trains stage 1 of the config where that is missing. Per number of steps four sets from the same
noise: as sampled, resampled toward the training series, chosen by influence at strength w from the
resampled ones, and with the sampler pushed to w. They are scored on val_guide + val_select, none of
which a generator sees; the guide sees val_guide, so TSTR of the guided sets shows what steps lose,
not what guidance gains. The quantile mapping is the one of stage 1, whatever the steps. Prints
Markdown rows.
"""

import argparse
import dataclasses
import logging
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.denoisers import Study
from configs import load_config
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import Splits
from scripts.quality.common.comparison import make_comparison
from scripts.quality.fidelity.discriminative import discriminate
from scripts.quality.fidelity.marginals import marginals_report
from tardiff.from_config import load, session_of
from tardiff.generation.data_card import to_dataset
from tardiff.generation.pool import Sampled
from tardiff.train import main as train_diffusion

SETS = ("as sampled", "resampled", "chosen", "pushed")
HEAD = ["steps", "CPU seconds, 1,000 series", "s.d. ratio, range", "worst KS"]
HEAD += ["AUC as sampled", "AUC resampled", *(f"TSTR {name}" for name in SETS)]
HEAD += ["realised by class, chosen", "pushed"]
MOST_ROWS = 3000  # that are told apart, of each side


def sample_all(
    config: ExperimentConfig, w: float
) -> tuple[dict[str, EHRDataset], dict[str, str], float]:
    """The four sets, what guidance realised in the last two, and the sampler's CPU seconds per
    1,000 unguided series."""
    sets, realised = {}, {}
    loaded = load(config)

    def written(made: Sampled) -> EHRDataset:
        return to_dataset(made.x, made.y, loaded.splits)

    seconds = 0.0
    for by, plain in (("push", "as sampled"), ("choose", "resampled")):
        guidance = dataclasses.replace(config.guidance, kind="influence", by=by)
        asked = dataclasses.replace(loaded.config, guidance=guidance)
        with tempfile.TemporaryDirectory() as folder:
            session = session_of(dataclasses.replace(loaded, config=asked))
            session = dataclasses.replace(session, folder=Path(folder))
            start = time.process_time()
            sets[plain] = written(session.unguided)
            if by == "push":
                seconds = 1000 * (time.process_time() - start) / len(session.y)
            name = "pushed" if by == "push" else "chosen"
            made, outcome = session.guided(w)
            sets[name] = written(made)
            realised[name] = " ".join(f"{shift:+.2f}" for shift in outcome.realised)
    return sets, realised, seconds


def row(study: Study, w: float) -> list[str]:
    """All that is measured at the number of steps of the config."""
    splits, steps = study.splits, study.config.sampler.num_steps
    sets, realised, seconds = sample_all(study.config, w)
    as_sampled, resampled = (
        make_comparison(splits.train, study.held_out, sets[name], splits.normaliser)
        for name in ("as sampled", "resampled")
    )
    told = []
    for comparison in (as_sampled, resampled):
        part = comparison.matched(MOST_ROWS, seed=0)
        told.append(discriminate(part.holdout.x, part.synthetic.x, seed=0).auc)
    marginals = marginals_report(as_sampled, seed=0).values
    ratios, distances = (
        [marginals[f"marginal_{measure}/{name}"] for name in splits.train.feature_names]
        for measure in ("sd_ratio", "ks")
    )
    utility = study.utility(sets)
    return [
        str(steps),
        f"{seconds:.1f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{max(distances):.3f}",
        *(f"{auc:.3f}" for auc in told),
        *(utility[name][0] for name in SETS),
        realised["chosen"],
        realised["pushed"],
    ]


def parser_of(module: str, about: str | None, steps: list[int]) -> argparse.ArgumentParser:
    """The command line of a benchmark of numbers of steps, `steps` unless others are given."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", nargs="+", help="config.yaml key=value ...")
    parser.add_argument("--steps", type=int, nargs="+", default=steps)
    parser.add_argument("--w", type=float, default=0.3, help="strength of the guided sets")
    return parser


def trained(arguments: list[str], head: list[str]) -> tuple[ExperimentConfig, Splits]:
    """The config and its splits, stage 1 trained where it was not; prints the head of the table."""
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    config = load_config(arguments)
    train_diffusion(config)
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    return config, load_splits(config.data)


def main() -> None:
    """Prints a row per number of steps."""
    given = parser_of("few_steps", __doc__, [4, 6, 8, 10, 12, 15, 25]).parse_args()
    config, splits = trained(given.config, HEAD)
    for steps in given.steps:
        sampler = dataclasses.replace(config.sampler, num_steps=steps)
        study = Study(dataclasses.replace(config, sampler=sampler), splits)
        print(f"| {' | '.join(row(study, given.w))} |", flush=True)


if __name__ == "__main__":
    main()

"""Which denoising network is best for its compute: settings trained for equal CPU seconds.

    python -m benchmarks.denoisers configs/base/physionet2012_mortality.yaml key=value ... \\
        --seconds 150 --setting unet --setting "flat multipliers=[1] blocks_per_level=4" \\
        --ema 0.99 0.9995

A setting is a name and keys of the `diffusion` section. Each generates one unguided set and is
scored on val_guide + val_select; the test split is not looked at, so that the choice of a design
leaves it fresh. The downstream models stop on val_select as always, for all settings alike. Prints
Markdown rows.
"""

import argparse
import dataclasses
import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.timed_training import Losses, Trained, seconds_per_step, train_for
from configs import load_config
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.dataset import EHRDataset, concatenate
from data_preprocess.model_space.encoding import encode, loss_weights
from data_preprocess.splits import Splits
from scripts.from_config import evaluation_data, fitting
from scripts.quality.common.comparison import make_comparison
from scripts.quality.fidelity.marginals import marginals_report
from scripts.quality.privacy.distances import distances_report
from scripts.utility.metrics import point_scores
from scripts.utility.protocols import REAL, EncodedArrays, plan_fits
from tardiff.diffusion.auto_batch_size import sampling_rows
from tardiff.diffusion.denoiser import NetworkDenoiser
from tardiff.diffusion.noise_schedule import log_snr_grid
from tardiff.generation.artefacts import requested_labels
from tardiff.generation.data_card import to_dataset
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.training.module import SeriesBatch

HEAD = (
    "set",
    "parameters",
    "steps",
    "CPU s",
    "loss train",
    "loss held out",
    "TSTR AUROC",
    "TSTR AUPRC",
    "s.d. ratio",
    "closer to train",
)


@dataclass(frozen=True)
class Study:
    """One data set and the rows that score."""

    config: ExperimentConfig
    splits: Splits

    @property
    def held_out(self) -> EHRDataset:
        """val_guide and val_select, neither of which a diffusion model is trained on."""
        return concatenate(self.splits.val_guide, self.splits.val_select)

    @property
    def losses(self) -> Losses:
        """The denoising loss on training rows and on held-out rows."""
        batches = [
            SeriesBatch(
                encode(self.splits.normaliser, rows),
                loss_weights(self.splits.normaliser, rows),
                torch.from_numpy(rows.labels),
            )
            for rows in (self.splits.train, self.held_out)
        ]
        return Losses(self.config, *batches)

    def sample(self, network: nn.Module, name: str) -> EHRDataset:
        """An unguided set with the class counts of the training split."""
        sampler = self.config.sampler
        y = requested_labels(self.splits.train, ratio=1.0, counts=None)
        shape = (self.splits.normaliser.num_model_channels, self.splits.train.length)
        process = ReverseProcess(
            sampler=sampler.name,
            levels=log_snr_grid(sampler.num_steps, sampler.log_snr_min, sampler.log_snr_max),
            shape=shape,
            seed=self.config.generation.seed,
            batch_size=sampling_rows(network, *shape, asked=sampler.batch_size),
            device=torch.device("cpu"),
        )
        denoiser = NetworkDenoiser(network, prediction=self.config.diffusion.prediction)
        x = process.run(denoiser, y, range(len(y))).x
        return to_dataset(x, y, self.splits)

    def utility(self, sets: dict[str, EHRDataset]) -> dict[str, tuple[str, str]]:
        """AUROC and AUPRC of TSTR per set, and of real-only training, over training seeds."""
        splits, evaluation = self.splits, self.config.evaluation
        held_out = self.held_out
        x = encode(splits.normaliser, held_out).numpy()
        data = dataclasses.replace(
            evaluation_data(splits, sets), test=EncodedArrays(x=x, y=held_out.labels)
        )
        fits = plan_fits(
            protocols=["TSTR"],
            generators=list(sets),
            ratios=[],
            models=evaluation.models[:1],
            seeds=evaluation.seeds,
        )
        results = fitting(self.config, data.num_classes, splits.normaliser)(fits, data)
        found: dict[str, list[tuple[float, float]]] = {}
        for fit, predictions in results.items():
            scores = point_scores(predictions)
            found.setdefault(fit.generator, []).append((scores["auroc"], scores["auprc"]))
        return {
            name: (_spread([a for a, _ in pairs]), _spread([p for _, p in pairs]))
            for name, pairs in found.items()
        }

    def closeness(self, synthetic: EHRDataset) -> tuple[str, str]:
        """Range over channels of the s.d. ratio, and the share closer to train than held out."""
        splits = self.splits
        comparison = make_comparison(splits.train, self.held_out, synthetic, splits.normaliser)
        marginals = marginals_report(comparison, seed=0).values
        ratios = [marginals[f"marginal_sd_ratio/{name}"] for name in splits.train.feature_names]
        share = distances_report(comparison, seed=0).values
        low, high = (share[f"closer_to_train_share_{end}"] for end in ("low", "high"))
        return (
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{share['closer_to_train_share']:.3f} [{low:.3f}, {high:.3f}]",
        )


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} +- {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"


def named_config(config_arguments: list[str], setting: str) -> tuple[str, ExperimentConfig]:
    """Name and config of a setting, such as "flat multipliers=[1]"."""
    name, *keys = setting.split()
    return name, load_config([*config_arguments, *(f"diffusion.{key}" for key in keys)])


def measure(
    study: Study, settings: dict[str, ExperimentConfig], seconds: float, decays: list[float]
) -> None:
    """Trains, samples and scores every setting; `decays` are other EMA lengths of the first."""
    losses = study.losses
    step_seconds = seconds_per_step(settings, study.splits)
    trained: dict[str, tuple[Trained, nn.Module]] = {}
    for name, config in settings.items():
        steps = max(1, round(seconds / step_seconds[name]))
        extra = decays if not trained else []
        result = train_for(config, study.splits, losses, steps=steps, decays=extra)
        curve = "; ".join(f"{step}: {a:.4f} {b:.4f}" for step, a, b in result.curve)
        print(f"{name}, step: loss on train rows, on held-out rows: {curve}", flush=True)
        for decay, network in result.networks.items():
            own = decay == config.diffusion.ema_decay
            trained[name if own else f"{name}_ema{decay:g}"] = (result, network)
    sets = {name: study.sample(network, name) for name, (_, network) in trained.items()}
    utility = study.utility(sets)
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    print("|", " | ".join(["real only", *[""] * 5, *utility[REAL], "", ""]), "|")
    for name, (result, network) in trained.items():
        cells = [
            name,
            f"{sum(p.numel() for p in network.parameters()):,}",
            str(result.curve[-1][0]),
            f"{result.seconds:.0f}",
            *(f"{loss:.4f}" for loss in losses.of(network)),
            *utility[name],
            *study.closeness(sets[name]),
        ]
        print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    """Builds the splits where they are missing, then measures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("config", nargs="+", help="config.yaml key=value ...")
    parser.add_argument("--seconds", type=float, default=150.0, help="CPU seconds per setting")
    parser.add_argument("--setting", action="append", help="name and keys of the diffusion section")
    parser.add_argument("--ema", type=float, nargs="*", default=[], help="of the first setting")
    given = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    settings = dict(named_config(given.config, text) for text in given.setting or ["unet"])
    config = next(iter(settings.values()))
    ensure_built(config.data)
    measure(Study(config, load_splits(config.data)), settings, given.seconds, given.ema)


if __name__ == "__main__":
    main()

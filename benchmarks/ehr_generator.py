"""What each part of the generator brings: utility and fidelity of unguided sets.

    python -m benchmarks.ehr_generator configs/base/physionet2012_mortality.yaml \
        data.train_size=3000 data.guide_size=500 data.select_size=430 --seeds 0 1 2 --scored test \
        --setting "all" --setting "no-masks data.space.masks=false"

Every setting is the config with its own overrides; every seed a data split. Stages that are up to
date are not run again. `--scored val` scores on val_guide and val_select, by which a design may be
chosen; `--scored test` on the test split. Prints a JSON line per setting and split, then a table.
"""

import argparse
import json
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, roc_auc_score

from classifier.training import FitRecipe
from configs import from_sections, load_config
from configs.run_record import run_dir
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.dataset import EHRDataset, concatenate
from data_preprocess.model_space.encoding import encode
from data_preprocess.splits import Splits
from data_preprocess.storage.dataset_files import load_dataset
from scripts.quality.common.comparison import make_comparison
from scripts.quality.fidelity.discriminative import discriminative_report
from scripts.utility.downstream import Downstream
from tardiff.generate import main as generate
from tardiff.train import main as train_diffusion

MODEL = "lstm"  # the downstream model
WORST = {
    "KS": lambda row: row["ks"],
    "s.d. ratio - 1": lambda row: abs(row["sd_ratio"] - 1),
    "autocorrelation": lambda row: abs(row["autocorrelation"]),
    "mask rate by hour": lambda row: row["mask_rate"],
}


def main() -> None:
    """Runs all settings on all splits."""
    given, rest = _arguments()
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING)
    results = []
    for setting in given.setting:
        name, *overrides = setting.split()
        for seed in given.seeds:
            found = measure(rest, name, overrides, seed, given)
            print(json.dumps(found), flush=True)
            results.append(found)
    print(table(results))


def measure(
    base: Sequence[str], name: str, overrides: list[str], seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Trains and samples one setting on one split, and scores the set."""
    experiment = f"{given.prefix}_{name}_s{seed}"
    own = [f"experiment={experiment}", f"data.seed={seed}", "guidance.kind=none"]
    config = load_config([*base, *overrides, *own])
    ensure_built(config.data)
    start = time.process_time()
    train_diffusion(config)
    seconds = time.process_time() - start
    generate(config)
    splits = load_splits(config.data)
    made = load_dataset(run_dir(config) / "synthetic" / "unguided.npz")
    return {
        "setting": name,
        "split": seed,
        "training_cpu_seconds": round(seconds),
        **utility(config, splits, made, given),
        **fidelity(splits, made),
    }


def utility(
    config: ExperimentConfig, splits: Splits, made: EHRDataset, given: argparse.Namespace
) -> dict[str, Any]:
    """AUROC and AUPRC of downstream models trained on real and on synthetic stays, over seeds."""
    val = concatenate(splits.val_guide, splits.val_select)
    scored_on = val if given.scored == "val" else splits.test
    fitter = Downstream(
        model=config.classifier.model,
        recipe=from_sections(FitRecipe, config.classifier),
        num_classes=splits.train.num_classes,
        normaliser=splits.normaliser,
    )
    found = {}
    masks = splits.normaliser.layout.masks
    for model in (MODEL, f"{MODEL}+mask") if masks else (MODEL,):
        for source, rows in (("real", splits.train), ("synthetic", made)):
            scores = [
                _score(fitter, model, splits, rows, scored_on, seed)
                for seed in range(given.model_seeds)
            ]
            found[f"{model} {source}"] = np.mean(scores, axis=0).round(4).tolist()
    return found


def _score(
    fitter: Downstream,
    model: str,
    splits: Splits,
    rows: EHRDataset,
    scored_on: EHRDataset,
    seed: int,
) -> tuple[float, float]:
    def arrays(dataset: EHRDataset) -> tuple[np.ndarray, np.ndarray]:
        return encode(splits.normaliser, dataset).numpy(), dataset.labels

    predict = fitter.fit(model, arrays(rows), arrays(splits.val_select), seed=seed)
    p = predict(arrays(scored_on)[0])[:, 1]
    y = scored_on.labels
    return float(roc_auc_score(y, p)), float(average_precision_score(y, p))


def fidelity(splits: Splits, made: EHRDataset) -> dict[str, Any]:
    """Marginals, autocorrelation, masks per channel against the test stays; two-sample AUC."""
    report = discriminative_report(
        make_comparison(splits.train, splits.test, made, splits.normaliser), seed=0
    )
    return {
        "channels": {
            name.split("[")[0]: channel_differences(splits, made, c)
            for c, name in enumerate(made.feature_names)
        },
        "discriminative_auc": round(report.values["discriminative_auc"], 3),
        "observed_by_class": {
            side: [round(float(each.observed[each.labels == k].mean()), 3) for k in (0, 1)]
            for side, each in (("real", splits.test), ("synthetic", made))
        },
    }


def channel_differences(splits: Splits, made: EHRDataset, c: int) -> dict[str, float]:
    """KS, s.d. ratio, difference of lag-1 autocorrelation, largest difference of mask rates over
    hours; what the training split scores in the first and the last; mask rates against it."""

    def autocorrelation(dataset: EHRDataset) -> float:
        x = dataset.values[:, c]
        return float(np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1])

    def ks(left: EHRDataset) -> float:
        return float(ks_2samp(left.values[:, c].ravel(), splits.test.values[:, c].ravel())[0])

    def mask_rate(left: EHRDataset, right: EHRDataset) -> float:
        rates = left.observed[:, c].mean(axis=0) - right.observed[:, c].mean(axis=0)
        return float(np.abs(rates).max())

    found = {
        "ks": ks(made),
        "ks_of_train": ks(splits.train),
        "sd_ratio": float(made.values[:, c].std() / splits.test.values[:, c].std()),
        "autocorrelation": autocorrelation(made) - autocorrelation(splits.test),
        "mask_rate": mask_rate(made, splits.test),
        "mask_rate_of_train": mask_rate(splits.train, splits.test),
        "mask_rate_to_train": mask_rate(made, splits.train),
    }
    return {key: round(value, 3) for key, value in found.items()}


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: per setting the means over splits."""
    head = ["setting", "training s", f"{MODEL}: real", f"{MODEL}: TSTR"]
    head += [f"{MODEL}+mask: real", f"{MODEL}+mask: TSTR"]
    head += [f"worst {name}" for name in WORST] + ["discriminative AUC"]
    lines = [head, ["---"] * len(head)]
    for setting in dict.fromkeys(found["setting"] for found in results):
        rows = [found for found in results if found["setting"] == setting]
        cells = [setting, f"{np.mean([row['training_cpu_seconds'] for row in rows]):.0f}"]
        for key in (f"{MODEL} ", f"{MODEL}+mask "):
            for source in ("real", "synthetic"):
                known = [row[key + source] for row in rows if key + source in row]
                cells.append(_mean_score(known))
        for worst in WORST.values():
            largest = [max(map(worst, row["channels"].values())) for row in rows]
            cells.append(f"{np.mean(largest):.3f}")
        cells.append(f"{np.mean([row['discriminative_auc'] for row in rows]):.3f}")
        lines.append(cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean_score(known: list[list[float]]) -> str:
    return "{:.3f} / {:.3f}".format(*np.mean(known, axis=0)) if known else "-"


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", action="append", help="name and overrides; several times")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="data splits")
    parser.add_argument("--model-seeds", type=int, default=3, help="of every fit")
    parser.add_argument("--scored", choices=("val", "test"), default="val")
    parser.add_argument("--prefix", default="ehr", help="of the experiments' names")
    given, rest = parser.parse_known_args()
    given.setting = given.setting or ["all"]
    return given, rest


if __name__ == "__main__":
    main()

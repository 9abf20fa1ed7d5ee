"""Stage 2: trains the task classifier on train, picks its epoch on val_select, saves it.

bash classifier/train.sh [config.yaml] [key=value ...]
"""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from classifier.checkpoint import ClassifierFacts, load_classifier, load_facts, save_classifier
from classifier.input_adapter import input_parts
from classifier.linear_reference import AgainstLinear, against_linear, linear_scores
from classifier.losses import class_probabilities
from classifier.metrics import report_scores
from classifier.models.source_code import own_source
from classifier.training import FitRecipe, Training, fit_classifier, predict_logits
from configs import from_sections, to_plain
from configs.cli import run_stage
from configs.run_record import describe_differences, record_stage, write_mapping
from configs.runtime.atomic_files import write_text
from configs.runtime.device import pick_device
from configs.runtime.errors import DataError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import encode
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits

log = logging.getLogger("tardiff.classifier")

UNFINISHED = "unfinished.ckpt"  # there while a training runs, or after one was interrupted
REMEDY = "classifier.model=conv, or larger classifier.max_epochs and classifier.patience"


def main(config: ExperimentConfig) -> None:
    """Trains the classifier of `config`, unless the one that is there is the same.

    The same means: same splits, same classifier section, same seed. Any other classifier under
    the same path is replaced, which is said.
    """
    ensure_built(config.data)
    splits = load_splits(config.data)
    path = checkpoint_path(config)
    facts = _facts(config, splits)
    unfinished = path.with_name(UNFINISHED)
    if path.is_file() and _is_up_to_date(path, facts):
        unfinished.unlink(missing_ok=True)  # a kill can come between the two
        return
    log.info("classifier: %s, %s", config.classifier.model, _describe(splits))
    fitted = _fit(config, splits, facts, unfinished)
    scores = _scores(fitted, splits, config.classifier.inputs)
    found = {"best_epoch": fitted.best_epoch, "val_select": scores}
    record_stage(config, "classifier", found | {"data_fingerprint": splits.fingerprint})
    _save(path, fitted, dataclasses.replace(facts, scores=scores))
    unfinished.unlink(missing_ok=True)
    log.info("%s", _summary(fitted, scores))
    _say_beside_linear(scores)
    log.info("saved %s", path)


def checkpoint_path(config: ExperimentConfig) -> Path:
    """Where the classifier of the experiment is kept."""
    return Path(config.classifier.checkpoint_dir) / "best.ckpt"


def classifier_settings(config: ExperimentConfig) -> dict[str, Any]:
    """The settings that decide the trained classifier, with the source of a user's own class."""
    section, source = to_plain(config)["classifier"], own_source(config.classifier.model)
    section.pop("checkpoint_dir")
    return section | ({"source": source} if source else {})


def _facts(config: ExperimentConfig, splits: Splits) -> ClassifierFacts:
    section = classifier_settings(config)
    return ClassifierFacts(
        model_path=config.classifier.model,
        model_args=section["model_args"],
        inputs=tuple(config.classifier.inputs),
        feature_names=splits.train.feature_names,
        label_names=splits.train.label_names,
        length=splits.train.length,
        normaliser=splits.normaliser,
        data_fingerprint=splits.fingerprint,
        settings={"classifier": section, "seed": config.seed},
        scores={},
    )


def require_buildable(config: ExperimentConfig, splits: Splits) -> None:
    """Raises ConfigError where stage 2 could not make the classifier of `config`."""
    with torch.random.fork_rng(devices=[]):
        _facts(config, splits).build()


def _is_up_to_date(path: Path, wanted: ClassifierFacts) -> bool:
    found = load_facts(path)
    if found.data_fingerprint != wanted.data_fingerprint:
        log.info("%s was trained on other data; training again replaces it", path)
        return False
    differences = describe_differences(found.settings, wanted.settings)
    if differences:
        log.info("%s has other settings (%s); training again replaces it", path, differences)
        return False
    try:
        load_classifier(path, allow=wanted.model_path)  # warns where the code of its class is new
    except DataError as error:
        log.info("%s; training again replaces it", error)
        return False
    log.info(
        "%s is up to date (AUROC %.3f on val_select); remove it to train again",
        path,
        found.scores["auroc"],
    )
    _say_beside_linear(found.scores)
    return True


def _fit(
    config: ExperimentConfig, splits: Splits, facts: ClassifierFacts, unfinished: Path
) -> Training:
    device = pick_device(config.accelerator)
    deciding = [facts.data_fingerprint, facts.settings, device.type, torch.get_num_threads()]
    return fit_classifier(
        _tensors(splits.train, splits.normaliser, device),
        _tensors(splits.val_select, splits.normaliser, device),
        build=facts.build,
        recipe=from_sections(FitRecipe, config.classifier),
        seed=config.seed,
        progress=True,
        unfinished=(unfinished, json.dumps([*deciding, torch.__version__], sort_keys=True)),
    )


def _scores(fitted: Training, splits: Splits, inputs: Sequence[str]) -> dict[str, float]:
    """Scores on val_select, and those of a linear model on the same parts of the same series."""
    train, select = (_tensors(s, splits.normaliser) for s in (splits.train, splits.val_select))
    logits = predict_logits(fitted.model, select[0])
    seen = [input_parts(x, splits.normaliser, inputs) for x, _ in (train, select)]
    linear = linear_scores((seen[0], train[1]), seen[1])
    own = class_probabilities(logits.cpu().double()).numpy()
    rows = splits.val_select
    beside = against_linear([own], linear, rows.labels, rows.subject_ids)
    return report_scores(logits, select[1]) | dataclasses.asdict(beside)


def _say_beside_linear(scores: Mapping[str, float]) -> None:
    names = [field.name for field in dataclasses.fields(AgainstLinear)]
    beside = AgainstLinear(**{name: scores[name] for name in names})
    log.info("%s", beside.line())
    if beside.is_blind:
        log.warning("%s", beside.warning("the classifier", REMEDY))


def _tensors(
    split: EHRDataset, normaliser: Normaliser, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    return encode(normaliser, split).to(device), torch.from_numpy(split.labels).to(device)


def _save(path: Path, fitted: Training, facts: ClassifierFacts) -> None:
    """Writes the checkpoint last: where it stands, all else that the training leaves does too."""
    metrics = {"best_epoch": fitted.best_epoch, "val_select": facts.scores, **facts.settings}
    write_mapping(path.with_name("metrics.json"), metrics)
    write_text(path.with_name("history.csv"), pd.DataFrame(fitted.history).to_csv(index=False))
    save_classifier(path, fitted.model, facts)


def _describe(splits: Splits) -> str:
    counts = splits.train.class_counts.tolist()
    classes = zip(splits.train.label_names, counts, strict=True)
    return f"{len(splits.train)} train series ({', '.join(f'{n} {name}' for name, n in classes)})"


def _summary(fitted: Training, scores: dict[str, float]) -> str:
    threshold = scores.get("f1_threshold")
    note = "" if threshold is None else f" (threshold {threshold:.3f}, chosen on the same series)"
    return (
        f"epoch {fitted.best_epoch + 1} of {len(fitted.history)}, selected by AUROC; "
        f"on val_select: AUROC {scores['auroc']:.3f}, AUPRC {scores['auprc']:.3f}, "
        f"F1 {scores['f1']:.3f}{note}"
    )


if __name__ == "__main__":
    run_stage(main)

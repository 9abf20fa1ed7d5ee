"""fit_classifier: one training of one classifier, used by stage 2 and by the fits of stage 4.

It keeps everything in memory, writes and prints nothing unless asked to, leaves the caller's
random state alone, and gives the same weights for the same seed on the same machine and thread
count.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn

from classifier.losses import num_classes
from classifier.training.batches import TensorBatches, require_labels, require_series
from classifier.training.callbacks import BestWeights, EpochBar, quiet_lightning
from classifier.training.module import ClassifierModule
from classifier.training.resume import Resume
from configs.runtime.errors import DataError
from configs.runtime.torch_files import WholeFiles

EVAL_BATCH_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class FitRecipe:
    """How a classifier is trained; units and choices as in ClassifierConfig (configs/schema)."""

    batch_size: int = 64
    max_epochs: int = 200
    patience: int = 8
    patience_steps: int = 500
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    class_weight: str = "none"
    select_by: str = "auroc"

    def __post_init__(self) -> None:
        _require_choice("class_weight", self.class_weight, ("none", "balanced"))
        _require_choice("select_by", self.select_by, ("auroc", "auprc", "loss"))


@dataclass(frozen=True, kw_only=True)
class FittedClassifier:
    """What a training gave.

    Attributes:
        model: in eval mode, with the weights of the best epoch, on the device of the data.
        history: one dict per epoch: epoch, train_loss, auroc, auprc, loss (on the select set).
        best_epoch: 0-based.
        best_score: value of the recipe's `select_by` in that epoch.
    """

    model: nn.Module
    history: list[dict[str, int | float]]
    best_epoch: int
    best_score: float


def fit_classifier(
    train: tuple[Tensor, Tensor],
    select: tuple[Tensor, Tensor],
    *,
    build: Callable[[], nn.Module],
    recipe: FitRecipe,
    seed: int,
    progress: bool = False,
    unfinished: tuple[Path, str] | None = None,
) -> FittedClassifier:
    """A classifier trained on `train`, at the epoch that scores best on `select`.

    Args:
        train, select: model-space series (n, channel, time) and labels (n,), on one device; the
            training runs there.
        build: makes a fresh model; called once, under `seed`.
        recipe: the hyper-parameters.
        seed: of the initial weights, the batches and dropout.
        progress: show a bar with loss, score and time left.
        unfinished: (path, key): the training is saved there after every epoch, and goes on from
            there if the file is of the same key; the caller removes it. None: nothing is written.

    Raises:
        DataError: shapes disagree, a value is not finite, a label is out of the range that the
            model's logits tell apart, or a class is absent.
        UserError: the training diverged.
    """
    device = train[0].device
    with _seeded(seed, device), quiet_lightning():
        model = build().to(device)
        _require_fit_for(model, train, select)
        module = ClassifierModule(
            model,
            class_weights=class_weights(train[1], recipe.class_weight),
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )
        best = BestWeights(recipe.select_by)
        extra: list[Callback] = [EpochBar(recipe.select_by)] if progress else []
        batches = TensorBatches(train, recipe.batch_size, torch.Generator().manual_seed(seed))
        held = {"module": module, "generator": batches.generator, "best": best}
        resume = None if unfinished is None else Resume(*unfinished, **held)
        _run(module, best, batches, select, recipe=recipe, extra=extra, resume=resume)
    model.load_state_dict(best.weights)
    return FittedClassifier(
        model=model.to(device).eval(),
        history=module.history,
        best_epoch=best.epoch,
        best_score=best.score,
    )


@torch.no_grad()
def predict_logits(
    model: nn.Module, x: Float[Tensor, "n channel time"], batch_size: int = EVAL_BATCH_SIZE
) -> Float[Tensor, "n out"]:
    """Logits of all series in eval mode, on the device of `x`; the model's mode is kept.

    Raises:
        DataError: no series.
    """
    if not len(x):
        raise DataError("predict_logits got no series")
    was_training = model.training
    model.eval()
    parameter = next(model.parameters(), x)
    parts = [model(part.to(parameter.device)).to(x.device) for part in x.split(batch_size)]
    model.train(was_training)
    return torch.cat(parts)


def class_weights(y: Tensor, kind: str) -> Tensor:
    """Loss factor per class: 1 ("none"), or n / (K n_k) ("balanced"), whose mean over y is 1."""
    counts = torch.bincount(y).float()
    if kind == "none":
        return torch.ones_like(counts)
    return len(y) / (len(counts) * counts)


def _run(
    module: ClassifierModule,
    best: BestWeights,
    batches: TensorBatches,
    select: tuple[Tensor, Tensor],
    *,
    recipe: FitRecipe,
    extra: list[Callback],
    resume: Resume | None,
) -> None:
    device = select[0].device
    # Eight epochs of 800 series are 104 steps: a network may need more to leave its plateau.
    patience = max(recipe.patience, math.ceil(recipe.patience_steps / len(batches)))
    stop = EarlyStopping(recipe.select_by, mode=best.mode, patience=patience, check_finite=False)
    callbacks: list[Callback] = [best, stop]
    trainer = Trainer(
        accelerator=device.type,
        devices=[device.index or 0] if device.type != "cpu" else 1,
        max_epochs=recipe.max_epochs,
        callbacks=callbacks + extra + ([resume] if resume else []),
        logger=False,
        enable_checkpointing=resume is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        # One process on one device, also inside a SLURM job that was given several tasks.
        plugins=[LightningEnvironment(), WholeFiles()],
    )
    scored = TensorBatches(select, EVAL_BATCH_SIZE)
    found = resume.found() if resume else None
    with _interruptible():
        trainer.fit(module, batches, scored, ckpt_path=found, weights_only=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C reaches the caller as KeyboardInterrupt; Lightning would make it SystemExit(1)."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would also reseed devices that are not forked here.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _require_fit_for(
    model: nn.Module, train: tuple[Tensor, Tensor], select: tuple[Tensor, Tensor]
) -> None:
    require_series("train", *train)
    require_series("select", *select)
    if train[0].shape[1:] != select[0].shape[1:]:
        raise DataError(
            f"train series are {tuple(train[0].shape[1:])} (channel, time) but select series are "
            f"{tuple(select[0].shape[1:])}"
        )
    classes = num_classes(predict_logits(model, train[0][:1]).shape[1])
    require_labels("train", train[1], classes)
    require_labels("select", select[1], classes)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")

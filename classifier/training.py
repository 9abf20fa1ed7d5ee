"""One training of one classifier: fit_classifier, used by stage 2 and by the fits of stage 4.

It keeps everything in memory, writes and prints nothing unless asked to, leaves the caller's
random state alone (of the CPU and the device of the data), and gives the same weights for the same
seed on the same machine and thread count. A resumed training draws the batches and the dropout
that the interrupted one would have drawn, so it ends with the same weights, too.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from classifier.losses import per_sample_loss
from classifier.metrics import selection_scores
from configs.runtime.errors import DataError, UserError
from configs.runtime.progress import Progress
from configs.runtime.torch_files import load_plain, save_plain

EVAL_BATCH_SIZE = 1024

log = logging.getLogger("tardiff.classifier")


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


@dataclass(kw_only=True)
class Training:
    """AdamW on the class-weighted loss, scored after every epoch.

    Attributes:
        model: series -> logits.
        train, select: series and labels, on the device of the model.
        recipe: the hyper-parameters.
        seed: of the order of the series.
        history: one dict per epoch: epoch, train_loss (weighted) and the selection scores.
        best_weights: state of the model in the best epoch.
    """

    model: nn.Module
    train: tuple[Tensor, Tensor]
    select: tuple[Tensor, Tensor]
    recipe: FitRecipe
    seed: int
    history: list[dict[str, int | float]] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.class_weights = class_weights(self.train[1], recipe.class_weight)
        self.generator = torch.Generator().manual_seed(self.seed)
        self.steps_per_epoch = math.ceil(len(self.train[1]) / recipe.batch_size)

    @property
    def best_epoch(self) -> int:
        """0-based number of the epoch with the best AUROC on `select`, the earliest of equals."""
        scores = [row["auroc"] for row in self.history]
        return scores.index(max(scores))

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        done, recipe = len(self.history), self.recipe
        # Eight epochs of 800 series are 104 steps: a network may need more to leave its plateau.
        patience = max(recipe.patience, math.ceil(recipe.patience_steps / self.steps_per_epoch))
        return done >= recipe.max_epochs or (done > 0 and done - 1 - self.best_epoch >= patience)

    def run(self, *, progress: bool, unfinished: tuple[Path, str] | None) -> None:
        """All epochs; arguments and errors as in `fit_classifier`."""
        if unfinished is not None:
            self.resume(*unfinished)
        total = self.recipe.max_epochs * self.steps_per_epoch
        with Progress("classifier" if progress else None, total, "batches") as bar:
            while not self.is_finished:
                self.run_epoch(bar)
                if unfinished is not None:
                    self.save(*unfinished)
        if progress and len(self.history) < self.recipe.max_epochs:
            log.info(
                "classifier: stopped early after %d of %s epochs, no better AUROC on val_select",
                len(self.history),
                self.recipe.max_epochs,
            )

    def run_epoch(self, bar: Progress) -> None:
        """One pass over the training series, and its scores.

        Raises:
            UserError: the logits are no longer finite.
        """
        losses = []
        self.model.train()
        for x, y in shuffled(self.train, self.recipe.batch_size, self.generator):
            self.optimiser.zero_grad()
            loss = weighted_loss(self.model, x, y, self.class_weights)
            loss.backward()
            self.optimiser.step()
            losses.append(loss.detach())
            bar.update(1)
        logits, epoch = predict_logits(self.model, self.select[0]), len(self.history)
        if not torch.isfinite(logits).all():
            raise UserError(
                f"classifier training diverged in epoch {epoch}: logits are not finite; lower "
                f"classifier.learning_rate (now {self.recipe.learning_rate:g})"
            )
        row = {"epoch": epoch, "train_loss": float(torch.stack(losses).mean())}
        self.history.append(row | selection_scores(logits, self.select[1]))
        if self.best_epoch == epoch:
            weights = self.model.state_dict()
            self.best_weights = {name: value.detach().clone() for name, value in weights.items()}
        score = self.history[-1]["auroc"]
        bar.show(f"epoch {epoch + 1}, loss {row['train_loss']:.3f}, auroc {score:.3f}")

    def save(self, path: Path, key: str) -> None:
        """Everything that decides how the training goes on; `key` says which training it is."""
        content = {
            "key": key,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
            "best_weights": self.best_weights,
            "random": self._random_states(),
        }
        save_plain(path, content)

    def resume(self, path: Path, key: str) -> None:
        """Takes back what `save` wrote, if there is such a file and it is of this training."""
        if not path.is_file():
            return
        try:
            content = load_plain(path, "unfinished training")
            found = content["key"]
        except (DataError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s); training begins anew", path, error)
            return
        if found != key:
            log.info("%s is of another training; this one begins anew", path)
            return
        log.info("continuing from %s", path)
        self.model.load_state_dict(content["model"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.history, self.best_weights = content["history"], content["best_weights"]
        self.generator.set_state(content["random"]["batches"])
        torch.set_rng_state(content["random"]["cpu"])
        if "cuda" in content["random"]:
            torch.cuda.set_rng_state(content["random"]["cuda"], self.train[0].device)

    def _random_states(self) -> dict[str, Any]:
        states = {"batches": self.generator.get_state(), "cpu": torch.get_rng_state()}
        if self.train[0].is_cuda:
            states["cuda"] = torch.cuda.get_rng_state(self.train[0].device)
        return states


def fit_classifier(
    train: tuple[Tensor, Tensor],
    select: tuple[Tensor, Tensor],
    *,
    build: Callable[[], nn.Module],
    recipe: FitRecipe,
    seed: int,
    progress: bool = False,
    unfinished: tuple[Path, str] | None = None,
) -> Training:
    """A finished training on `train`: `model` has the weights of the epoch with the best AUROC on
    `select`, and is in eval mode on the device of the data.

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
        UserError: the training diverged.
    """
    device = train[0].device
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)  # manual_seed would reach devices not forked here
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        model = build().to(device)
        training = Training(model=model, train=train, select=select, recipe=recipe, seed=seed)
        training.run(progress=progress, unfinished=unfinished)
    model.load_state_dict(training.best_weights)
    model.eval()
    return training


@torch.no_grad()
def predict_logits(model: nn.Module, x: Float[Tensor, "n channel time"]) -> Float[Tensor, "n out"]:
    """Logits of all series in eval mode, on the device of `x`; the model's mode is kept."""
    was_training = model.training
    model.eval()
    parameter = next(model.parameters(), x)
    parts = [model(part.to(parameter.device)).to(x.device) for part in x.split(EVAL_BATCH_SIZE)]
    model.train(was_training)
    return torch.cat(parts)


def class_weights(y: Int[Tensor, " n"], kind: str) -> Float[Tensor, " classes"]:
    """Loss factor per class: 1 ("none"), or n / (K n_k) ("balanced"), whose mean over y is 1; K
    counts the classes that y has."""
    counts = torch.bincount(y).float()
    if kind == "none":
        return torch.ones_like(counts)
    return len(y) / ((counts > 0).sum() * counts.clamp(min=1))


def weighted_loss(
    model: nn.Module,
    x: Float[Tensor, "batch channel time"],
    y: Int[Tensor, " batch"],
    weights: Float[Tensor, " classes"],
) -> Float[Tensor, ""]:
    """Mean loss of a batch, each series times the weight of its class."""
    return (weights[y] * per_sample_loss(model(x), y)).mean()


def shuffled(
    data: tuple[Tensor, Tensor], batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """(x, y) slices of tensors on one device in a new order; the last slice may be shorter."""
    x, y = data
    order = torch.randperm(len(y), generator=generator).to(y.device)
    for rows in order.split(batch_size):
        yield x[rows], y[rows]

"""fit_classifier: one training of one classifier, used by stage 2 and by the fits of stage 4.

It keeps everything in memory, writes and prints nothing unless asked to, leaves the caller's
random state alone, and gives the same weights for the same seed on the same machine and thread
count.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from classifier.losses import num_classes
from classifier.training import FitRecipe, Training, predict_logits
from configs.runtime.errors import DataError


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
    """A finished training on `train`: `model` has the weights of the epoch that scores best on
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
        DataError: shapes disagree, a value is not finite, a label is out of the range that the
            model's logits tell apart, or a class is absent.
        UserError: the training diverged.
    """
    device = train[0].device
    with _seeded(seed, device):
        model = build().to(device)
        _require_fit_for(model, train, select)
        training = Training(model=model, train=train, select=select, recipe=recipe, seed=seed)
        training.run(progress=progress, unfinished=unfinished)
    model.load_state_dict(training.best_weights)
    model.eval()
    return training


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
    _require_series("train", *train)
    _require_series("select", *select)
    if train[0].shape[1:] != select[0].shape[1:]:
        raise DataError(
            f"train series are {tuple(train[0].shape[1:])} (channel, time) but select series are "
            f"{tuple(select[0].shape[1:])}"
        )
    classes = num_classes(predict_logits(model, train[0][:1]).shape[1])
    _require_labels("train", train[1], classes)
    _require_labels("select", select[1], classes)


def _require_series(where: str, x: Tensor, y: Tensor) -> None:
    """Finite series and their labels on one device."""
    if x.ndim != 3 or y.ndim != 1 or len(x) != len(y) or not len(y):
        raise DataError(
            f"{where}: series of shape {tuple(x.shape)} and labels of shape {tuple(y.shape)}; "
            "expected (n, channel, time) and (n,) with n > 0"
        )
    if x.device != y.device:
        raise DataError(f"{where}: series are on {x.device} but labels on {y.device}")
    if not torch.isfinite(x).all():
        raise DataError(
            f"{where}: {int((~torch.isfinite(x)).sum())} NaN or infinite values; expected finite "
            "model-space series"
        )


def _require_labels(where: str, y: Tensor, classes: int) -> None:
    """Integers in [0, classes), each of them at least once."""
    if y.is_floating_point() or y.min() < 0 or y.max() >= classes:
        raise DataError(
            f"{where}: labels {y.dtype} span {y.min().item()}..{y.max().item()}; expected "
            f"integers in 0..{classes - 1}"
        )
    absent = [k for k, count in enumerate(torch.bincount(y, minlength=classes)) if not count]
    if absent:
        raise DataError(
            f"{where}: no series of class {', '.join(map(str, absent))} of {classes}; every class "
            "is needed to train and to score a classifier"
        )

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

from classifier.training import FitRecipe, Training


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
        UserError: the training diverged.
    """
    device = train[0].device
    with _seeded(seed, device):
        model = build().to(device)
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

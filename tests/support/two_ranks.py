"""What each of the two processes of test_process_group.py does; the argument is a folder."""

import dataclasses
import os
import sys
from pathlib import Path

import torch

from classifier.models.networks import RNNClassifier
from configs import load_config
from data_preprocess.build import load_splits
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.preconditioner import precondition
from tardiff.influence.process_group import ALONE, Ranks, current_ranks
from tardiff.train import train
from tardiff.training.module import DiffusionModule
from tests.support.tiny_runs import tiny_arguments

ROWS, BATCH = 53, 8  # seven batches, the last one short: an odd number for two ranks


def influence(ranks: Ranks) -> dict[str, torch.Tensor]:
    """G of every kind and a preconditioned one, flat."""
    torch.manual_seed(0)
    model = RNNClassifier(3, 6, 1, hidden=4, layers=1).eval()
    x, y = torch.randn(ROWS, 3, 6), (torch.arange(ROWS) % 5 == 0).long()
    found = {
        kind: guidance_gradient(
            model, x, y, kind=kind, num_classes=2, batch_size=BATCH, ranks=ranks
        )
        for kind in ("rank", "balanced", "nll")
    }
    solved = precondition(
        model, found["rank"], x, damping=0.1, iterations=5, batch_size=BATCH, ranks=ranks
    )
    found["preconditioned"] = solved[0]
    return {name: torch.cat([p.flatten() for p in g.values()]) for name, g in found.items()}


def diffusion(root: Path) -> dict[str, torch.Tensor]:
    """The end of a distributed training, and the rows this rank drew first."""
    config = load_config(tiny_arguments(root, "strategy=ddp", "devices=2"))
    longer = dataclasses.replace(config.diffusion, max_steps=60)
    found: dict[str, torch.Tensor] = {}

    def at_end(module: DiffusionModule) -> None:
        found["rows"] = module._draw_rows(module._generator(0))
        found["weights"] = torch.cat([p.flatten() for p in module.network.parameters()])
        found["averaged"] = torch.cat([p.flatten() for p in module.ema.parameters()])
        found["steps"] = torch.tensor(module.global_step)
        found["val_loss"] = module.trainer.callback_metrics["val_loss"]

    DiffusionModule.on_train_end = at_end  # type: ignore[method-assign]
    config = dataclasses.replace(config, diffusion=longer)
    model = train(config, load_splits(config.data), root / "ddp")
    found["has_model"] = torch.tensor(model is not None)
    return {name: value.detach().clone() for name, value in found.items()}


def main(root: Path) -> None:
    """Writes rank<r>.pt."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    assert current_ranks() == ALONE
    found = diffusion(root)
    # Lightning's process group stays until the end.
    assert current_ranks() == Ranks(rank, world)
    agreed = current_ranks().agree(rank == 0)
    found |= influence(current_ranks()) | {"agreed": torch.tensor(agreed)}
    torch.save(found, root / f"rank{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))

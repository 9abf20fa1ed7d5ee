"""A training goes on when diffusion.max_steps is raised: its settings, and its patience."""

import logging
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import EarlyStopping

from configs.run_record import describe_differences, read_mapping, write_mapping

log = logging.getLogger(__name__)


def asks_for_more_steps(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether max_steps is larger than in `folder`/settings.json, and nothing else differs.

    Private training is left alone: its noise was planned for its number of steps.

    Args:
        settings: of the run, with section "diffusion".
    """
    path = folder / "settings.json"
    asked = settings["diffusion"]
    if not path.is_file() or asked.get("private", {}).get("epsilon"):
        return False
    stored = read_mapping(path)
    before = stored.get("diffusion", {}).get("max_steps", 0)
    same = settings | {"diffusion": asked | {"max_steps": before}}
    return before < asked["max_steps"] and not describe_differences(stored, same)


def go_on(folder: Path, settings: dict[str, Any]) -> None:
    """Takes `settings` into `folder`, and removes the finished model.

    So training goes on from the last checkpoint (of the last evaluation that was an improvement),
    with the learning rate that a training of that length has there (docs/earlier_results.md
    compares).
    """
    log.info("going on to step %d", settings["diffusion"]["max_steps"])
    # In this order a run killed in between starts again from here.
    (folder / "model.pt").unlink(missing_ok=True)
    write_mapping(folder / "settings.json", settings)


class Patience(EarlyStopping):
    """An EarlyStopping whose patience is fresh where a training goes on to a larger `max_steps`:
    its learning rate rises again, and the first evaluations may be worse."""

    def __init__(self, *args: Any, max_steps: int, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.max_steps = max_steps

    def state_dict(self) -> dict[str, Any]:
        """Lightning's own, with `max_steps`."""
        return super().state_dict() | {"max_steps": self.max_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over how long the best has stood, unless `max_steps` is another."""
        super().load_state_dict(state_dict)
        if state_dict["max_steps"] != self.max_steps:
            self.wait_count = 0

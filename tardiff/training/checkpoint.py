"""The finished diffusion model on disk: averaged weights and everything needed to trust them."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from classifier.checkpoint_validation import (
    require_length,
    require_modest,
    require_weights,
    shapes_alone,
)
from classifier.models.source_code import network_source, warn_of_new_code
from configs.run_record import read_mapping
from configs.runtime.torch_files import load_marked, save_plain
from tardiff.diffusion.quantile_mapping import MarginalMap
from tardiff.networks.registry import build_network
from tardiff.privacy.accountant import Privacy

MARKS = {"format": "tardiff-diffusion-2"}


@dataclass(frozen=True, kw_only=True)
class DiffusionModel:
    """A trained denoising network with its origin.

    Attributes:
        network: in eval mode.
        network_args: what `build_network` takes.
        prediction: what the network predicts.
        level_table: levels of a discrete schedule, noisy last; None for the cosine schedule.
        feature_names, label_names, length: of the series it was trained on.
        normaliser: SHA-256 of the normaliser.
        data_fingerprint: SHA-256 of the splits.
        val_loss: held-out denoising loss of these weights.
        step: training step of these weights.
        marginals: the map from drawn to training marginal distributions; None: there is none.
        privacy: what the training promises to its patients; None: nothing.
        with_guide: it was trained on the guidance rows too.
    """

    network: nn.Module
    network_args: dict[str, Any]
    prediction: str
    level_table: list[float] | None
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    length: int
    normaliser: str
    data_fingerprint: str
    val_loss: float
    step: int
    marginals: MarginalMap | None = None
    privacy: Privacy | None = None
    with_guide: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What records and sets say of it, JSON-able."""
        promise = asdict(self.privacy) if self.privacy else None
        return {"val_loss": self.val_loss, "step": self.step, "privacy": promise}


_PLAIN = ("network_args", "prediction", "level_table", "length", "normaliser")
_PLAIN += ("data_fingerprint", "val_loss", "step", "with_guide")
_TUPLES = ("feature_names", "label_names")


def save_model(path: Path, model: DiffusionModel) -> None:
    """Writes the model as a plain dict that loads without unpickling objects."""
    content: dict[str, Any] = {name: getattr(model, name) for name in _PLAIN}
    content |= {name: list(getattr(model, name)) for name in _TUPLES}
    content |= {**MARKS, "state_dict": model.network.state_dict()}
    content["network_source"] = network_source(model.network)
    if model.marginals is not None:
        content["marginals"] = dict(model.marginals.state_dict())
    if model.privacy is not None:
        content["privacy"] = asdict(model.privacy)
    save_plain(path, content)


def _unfinished(folder: Path) -> str:
    """That the training was stopped on its way to another number of steps than a config may say."""
    settings = folder / "settings.json"
    if not settings.is_file() or not (folder / "last.ckpt").is_file():
        return ""
    steps = read_mapping(settings).get("diffusion", {}).get("max_steps")
    return f" diffusion.max_steps={steps}, which goes on with the training that was stopped"


def load_model(path: Path, command: str) -> DiffusionModel:
    """Reads what `save_model` wrote; warns where the code of the network is another by now.

    Args:
        command: the command that makes the file, for the error message.

    Raises:
        MissingInputError: no such file.
        DataError: not such a file.
    """
    folder = path.parent
    # A model that is there, and not to be read, was trained from other files of its folder.
    hint = f" after removing the whole of {folder}" if path.is_file() else _unfinished(folder)
    parse = partial(_parsed, path)
    return load_marked(path, "diffusion model", MARKS, parse, made_by=command + hint)


def _parsed(path: Path, content: dict[str, Any]) -> DiffusionModel:
    arguments, weights = content["network_args"], content["state_dict"]
    require_modest(path, arguments)
    with shapes_alone():
        expected = build_network(arguments).state_dict()
    require_weights(path, weights, expected)
    network = build_network(arguments)
    again = f"{path.parent} and run stage 1"
    warn_of_new_code(path, content.get("network_source"), network, arguments["kind"], again)
    network.load_state_dict(weights)
    fields: dict[str, Any] = {name: content[name] for name in _PLAIN}
    fields |= {name: tuple(content[name]) for name in _TUPLES}
    fields["marginals"] = _marginals(path, content.get("marginals"), fields)
    if "privacy" in content:
        fields["privacy"] = Privacy.from_plain(content["privacy"])
    return DiffusionModel(network=network.eval(), **fields)


def _marginals(path: Path, weights: Any, fields: dict[str, Any]) -> MarginalMap | None:
    if weights is None:
        return None
    channels, length = len(fields["feature_names"]), fields["length"]
    knots = weights["source"].shape[1] - 2
    require_modest(path, [channels, knots])
    require_length(path, length)
    found = MarginalMap(channels, length, masks=len(weights["threshold"]) > 0, knots=knots)
    require_weights(path, weights, found.state_dict())
    found.load_state_dict(weights)
    return found

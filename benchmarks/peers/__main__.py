"""Generators of others beside our own: the same splits, the same downstream models, one table.

    python -m benchmarks.peers CONFIG peers.timevae=FOLDER peers.diffusion_ts=FOLDER \\
        peers.timegan=FOLDER [--share NAME=F] [--space model] [--seed 0] [key=value ...]

FOLDER is a clone of the peer's repository; none of its code is here. Each peer gets an environment
of its own and is trained on the training split with its authors' settings, one model per class, as
none of them is conditional. Its set is evaluated by stage 4 beside all sets of the experiment.
`--share` shortens a schedule (0.1: a tenth of its steps), and the table says so. `--space model`
trains the peer on our model space (quantile map) and brings its series back through it.
"""

import argparse
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from benchmarks.peers.environment import Peer, interpreter
from configs.cli import run_stage
from configs.run_record import run_dir
from configs.runtime.errors import ConfigError, MissingInputError, UserError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.card import markdown_table
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import decode, encode
from data_preprocess.splits import Splits
from data_preprocess.storage.content_cache import ContentCache, Entry
from data_preprocess.storage.dataset_files import load_extra, save_dataset
from scripts.evaluate import main as evaluate
from tardiff.generation.artefacts import requested_labels

PREFIX = "peers."
DRIVERS = Path(__file__).with_name("drivers.py")
TORCH = ("pyyaml", "tqdm")
PEERS = {
    "timevae": Peer(
        "abudesai/timeVAE",
        "src/vae/timevae.py",
        ("tensorflow-cpu", "pyyaml", "joblib"),
        shares=False,
    ),
    "diffusion_ts": Peer(
        "Y-debug-sys/Diffusion-TS",
        "Models/interpretable_diffusion/gaussian_diffusion.py",
        ("ema-pytorch", "einops", *TORCH),
        shares=True,
    ),
    "timegan": Peer(
        "birdx0810/timegan-pytorch", "models/timegan.py", ("tensorboard", *TORCH), shares=True
    ),
}
ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
}
COLUMNS = (
    "set",
    "parameters",
    "training CPU s",
    "series/s",
    "TSTR AUROC",
    "TSRTR AUROC",
    "TRTS AUROC minus real testing",
    "discriminator AUC",
    "worst KS",
    "autocorrelation",
    "membership AUC",
    "schedule",
)

log = logging.getLogger("tardiff")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One peer as it is asked for; `space` is "clinical" or "model"."""

    name: str
    folder: Path
    share: float
    space: str
    seed: int
    cache: Path

    @property
    def set_name(self) -> str:
        """What its set is called."""
        return self.name if self.space == "clinical" else f"{self.name}_model_space"


def checked(request: Request) -> Request:
    """The request; raises UserError if there is no such peer or its folder is another one."""
    if request.name not in PEERS:
        raise ConfigError(f"{PREFIX}{request.name}: unknown; expected some of {', '.join(PEERS)}")
    peer = PEERS[request.name]
    if not (request.folder / peer.marker).is_file():
        raise MissingInputError(
            f"{PREFIX}{request.name}={request.folder}: no {peer.marker} there; expected a clone of "
            f"{peer.origin}"
        )
    if not 0 < request.share <= 1:
        raise ConfigError(f"--share {request.name}={request.share:g}: expected 0 < share <= 1")
    return request


def peer_set(config: ExperimentConfig, splits: Splits, request: Request) -> Path:
    """The file of the peer's set, in clinical units; a class that is kept is not trained again."""
    labels = requested_labels(
        splits.train, ratio=config.generation.ratio, counts=config.generation.counts
    )
    train = _series(splits, request.space)
    store = ContentCache(run_dir(config) / "peers" / "classes", ("benchmarks.peers.drivers",))
    parts, facts = [], []
    for label, count in enumerate(np.bincount(labels, minlength=splits.train.num_classes).tolist()):
        key = {
            "peer": request.name,
            "data": splits.fingerprint,
            "label": label,
            "count": count,
            "space": request.space,
            "share": request.share,
            "seed": request.seed,
        }
        rows = train[splits.train.labels == label]
        log.info("%s: class %s, %d series", request.set_name, label, len(rows))
        entry = store.fetch(key, lambda rows=rows, count=count: _trained(request, rows, count))
        parts.append(entry.arrays["series"])
        facts.append(entry.facts)
    path = run_dir(config) / "peers" / f"{request.set_name}.npz"
    extra = {"data_fingerprint": splits.fingerprint, "peer": facts}
    save_dataset(path, _dataset(splits, request.space, parts), extra)
    return path


def _series(splits: Splits, space: str) -> Float[np.ndarray, "n time channel"]:
    train = splits.train
    values = train.values if space == "clinical" else encode(splits.normaliser, train).numpy()
    return values.transpose(0, 2, 1)


def _trained(request: Request, rows: np.ndarray, count: int) -> Entry:
    """One class: the driver in the peer's environment, with one thread."""
    python = interpreter(request.name, PEERS[request.name], request.cache)
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name) / "train.npy", Path(name) / "out.npy"
        np.save(source, rows)
        numbers = {"count": count, "seed": request.seed, "share": request.share}
        options = [f"--{option}={value}" for option, value in numbers.items()]
        command = [python, DRIVERS, request.name, request.folder.absolute(), source, out, *options]
        done = subprocess.run(
            list(map(str, command)),
            env=os.environ | ONE_THREAD | {"TMPDIR": name},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise UserError(f"{request.name} stopped: {last[0]}")
        series = np.load(out)
        facts = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    if not np.isfinite(series).all():
        raise UserError(f"{request.name} drew values that are not finite (share {request.share:g})")
    return Entry({"series": series}, facts)


def _dataset(splits: Splits, space: str, parts: Sequence[np.ndarray]) -> EHRDataset:
    train = splits.train
    values = np.concatenate(parts).transpose(0, 2, 1)
    if space == "model":
        values = decode(splits.normaliser, torch.from_numpy(values))[0]
    n = len(values)
    return EHRDataset(
        values=np.ascontiguousarray(values, np.float32),
        observed=np.ones(values.shape, bool),
        labels=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        subject_ids=np.full(n, -1),
        feature_names=train.feature_names,
        label_names=train.label_names,
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )


def table(out: Path, sets: Mapping[str, Path]) -> str:
    """A Markdown table of what stage 4 wrote to `out`: a row per set, real-only training first."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    rows = [row for row in summary["rows"] if row["metric"] == "auroc"]
    model = rows[0]["model"]
    lines = []
    for name in ("real", *summary["synthetic_series_per_class"]):
        scores, gap = {"TRTR": "", "TSTR": "", "TSRTR": ""}, None
        for row in rows:  # of TSRTR the largest ratio, which comes last
            if (row["generator"], row["model"]) == (name, model):
                scores[row["protocol"]] = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
                gap = row["vs_testing"] or gap
        quality = {}
        for kind in ("fidelity", "privacy"):
            quality |= summary.get(kind, {}).get(name, {}).get("values", {})
        ks = [value for key, value in quality.items() if key.startswith("marginal_ks/")]
        cells = [
            name,
            *_cost(load_extra(sets[name]).get("peer") if name in sets else None),
            scores["TSTR"] or scores["TRTR"],
            scores["TSRTR"],
            "" if gap is None else f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]",
            _number(quality.get("discriminative_auc")),
            _number(max(ks, default=None)),
            _number(quality.get("autocorrelation_difference")),
            _number(quality.get("membership_auc")),
        ]
        done = "; ".join(f["done"] for f in load_extra(sets[name])["peer"]) if name in sets else ""
        lines.append([*cells, done])
    return markdown_table(COLUMNS, lines)


def _cost(facts: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Parameters of all class models, CPU seconds of their training, series per CPU second."""
    if facts is None:
        return ["", "", ""]
    total = {key: sum(f[key] for f in facts) for key in facts[0] if key != "done"}
    speed = total["series"] / max(total["sample_cpu_seconds"], 1e-9)
    return [f"{total['parameters']:,}", f"{total['train_cpu_seconds']:,.0f}", f"{speed:,.1f}"]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def requests(given: argparse.Namespace, keys: Sequence[str]) -> list[Request]:
    """The peers that are asked for, checked.

    Raises:
        UserError: no peer, an unknown one, a folder of something else, a share out of bounds.
    """
    shares = dict(item.split("=", 1) for item in given.share)
    folders = dict(key.removeprefix(PREFIX).split("=", 1) for key in keys)
    if not folders:
        raise ConfigError(f"name at least one peer: {PREFIX}timevae=FOLDER")
    if set(shares) - set(folders):
        raise ConfigError(f"--share {' '.join(given.share)}: no such peer was asked for")
    return [
        checked(
            Request(
                name=name,
                folder=Path(folder).expanduser(),
                share=float(shares.get(name, 1)),
                space=given.space,
                seed=given.seed,
                cache=given.cache,
            )
        )
        for name, folder in folders.items()
    ]


def main() -> None:
    """Trains the peers, evaluates their sets beside those of the experiment, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--share", action="append", default=[], metavar="NAME=F")
    parser.add_argument("--space", choices=("clinical", "model"), default="clinical")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/tardiff-peers"))
    given, keys = parser.parse_known_args()
    asked = [key for key in keys if key.startswith(PREFIX)]
    sys.argv[1:] = [key for key in keys if key not in asked]

    def run(config: ExperimentConfig) -> None:
        wanted = requests(given, asked)
        ensure_built(config.data)
        splits = load_splits(config.data)
        for request in wanted:
            peer_set(config, splits, request)
        ours = config.evaluation.synthetic or sorted(
            str(path) for path in (run_dir(config) / "synthetic").glob("*.npz")
        )
        theirs = {path.stem: path for path in sorted((run_dir(config) / "peers").glob("*.npz"))}
        evaluated = [*ours, *map(str, theirs.values())]
        chosen = dataclasses.replace(config.evaluation, synthetic=evaluated)
        evaluate(dataclasses.replace(config, evaluation=chosen))
        log.info("\n%s", table(run_dir(config) / chosen.dir, theirs))

    run_stage(run)


if __name__ == "__main__":
    main()

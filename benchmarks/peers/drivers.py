"""Trains one generator of others on series of one class, with its authors' code, and draws from it.

`python drivers.py PEER FOLDER train.npy out.npy --count N --seed S --share F`, started by
benchmarks/peers/__main__.py in the environment of the peer: nothing of the project is imported.
Series are (n, time, channel), scaled as the authors' own pipeline does; `out.json` says what it
took. Settings are those of the authors, read from FOLDER where they are in a file.
"""

import argparse
import importlib
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TIMEVAE_EPOCHS = 1000  # vae_pipeline.py; it stops early
# The defaults of main.py of the PyTorch port.
TIMEGAN = {"hidden_dim": 20, "num_layers": 3, "dis_thresh": 0.15, "learning_rate": 1e-3}
TIMEGAN_EPOCHS, TIMEGAN_BATCH = 600, 128


class Drawn:
    """What a driver returns: series, parameters of the network, and what was done of the schedule.

    `sample` draws the series when called, so that training and sampling are timed apart.
    """

    def __init__(self, sample: Callable[[], np.ndarray], parameters: int, done: str) -> None:
        self.sample, self.parameters, self.done = sample, parameters, done


def timevae(train: np.ndarray, count: int, share: float) -> Drawn:
    """TimeVAE (Desai et al. 2021), github abudesai/timeVAE."""
    data, paths, vae = (
        importlib.import_module(n) for n in ("data_utils", "paths", "vae.vae_utils")
    )
    scaled, _, scaler = data.scale_data(train, train)
    settings = data.load_yaml_file(paths.HYPERPARAMETERS_FILE_PATH)["timeVAE"]
    _, length, channels = train.shape
    model = vae.instantiate_vae_model("timeVAE", length, channels, **settings)
    epochs = max(1, round(share * TIMEVAE_EPOCHS))
    vae.train_vae(model, scaled, max_epochs=epochs, verbose=0)
    seen = len(model.history.history["loss"])
    ended = "stopped by itself" if seen < epochs else "all"
    return Drawn(
        lambda: data.inverse_transform_data(vae.get_prior_samples(model, count), scaler),
        sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        f"{seen} of at most {TIMEVAE_EPOCHS} epochs ({ended})",
    )


def diffusion_ts(train: np.ndarray, count: int, share: float) -> Drawn:
    """Diffusion-TS (Yuan & Qiao 2024), github Y-debug-sys/Diffusion-TS, its `stocks.yaml`."""
    import torch  # noqa: PLC0415  (the environment of another peer has none)

    tools = importlib.import_module("Utils.io_utils")
    config = tools.load_yaml_config("Config/stocks.yaml")
    _, length, channels = train.shape
    config["model"]["params"] |= {"seq_length": length, "feature_size": channels}
    whole = config["solver"]["max_epochs"]
    steps = max(1, round(share * whole))
    folder = tempfile.mkdtemp()
    config["solver"] |= {"max_epochs": steps, "results_folder": folder}
    model = tools.instantiate_from_config(config["model"])
    low, high = train.min(axis=(0, 1)), train.max(axis=(0, 1))
    span = np.where(high > low, high - low, 1)
    x = torch.from_numpy((2 * (train - low) / span - 1).astype(np.float32))
    rows = min(config["dataloader"]["batch_size"], len(x))
    loader = torch.utils.data.DataLoader(x, batch_size=rows, shuffle=True, drop_last=True)  # pyright: ignore[reportArgumentType]
    solver = importlib.import_module("engine.solver")
    trainer = solver.Trainer(
        config, types.SimpleNamespace(name="peer"), model, {"dataloader": loader}
    )
    trainer.train()

    def sample() -> np.ndarray:
        drawn = trainer.ema.ema_model.generate_mts(batch_size=count).numpy()
        return (drawn + 1) / 2 * span + low

    return Drawn(sample, _parameters(model), f"{steps:,} of {whole:,} steps")


def timegan(train: np.ndarray, count: int, share: float) -> Drawn:
    """TimeGAN (Yoon et al. 2019), the PyTorch port github birdx0810/timegan-pytorch.

    Rows are repeated at random to fill the last batch, without which the port does not run.
    """
    import torch  # noqa: PLC0415

    models, utils = (importlib.import_module(n) for n in ("models.timegan", "models.utils"))
    _, length, channels = train.shape
    epochs = max(1, round(share * TIMEGAN_EPOCHS))
    batch = min(TIMEGAN_BATCH, len(train))
    args = types.SimpleNamespace(**TIMEGAN, batch_size=batch, device=torch.device("cpu"))
    args.feature_dim = args.Z_dim = channels
    args.max_seq_len, args.padding_value = length, -1.0
    args.emb_epochs = args.sup_epochs = args.gan_epochs = epochs
    args.exp, args.model_path = "peer", tempfile.mkdtemp()
    low, high = train.min(axis=(0, 1)), train.max(axis=(0, 1))
    span = np.where(high > low, high - low, 1)
    extra = np.random.default_rng(0).integers(len(train), size=-len(train) % batch)
    rows = np.concatenate([train, train[extra]])
    model = models.TimeGAN(args)
    setattr(utils, "SummaryWriter", lambda *_: None)  # noqa: B010  (the loops take None: no log)
    utils.timegan_trainer(model, (rows - low) / span, [length] * len(rows), args)

    def sample() -> np.ndarray:
        model.eval()
        with torch.no_grad():
            noise = torch.rand((count, length, channels))
            drawn = model(X=None, T=[length] * count, Z=noise, obj="inference").numpy()
        return drawn * span + low

    return Drawn(sample, _parameters(model), f"{epochs} of {TIMEGAN_EPOCHS} epochs a phase")


PEERS = {"timevae": timevae, "diffusion_ts": diffusion_ts, "timegan": timegan}
INSIDE = {"timevae": "src"}  # where the imports of a peer start, below its folder


def _parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (what the peers draw from)
    if importlib.util.find_spec("torch"):
        torch = importlib.import_module("torch")
        torch.manual_seed(seed)
        torch.set_num_threads(1)


def main() -> None:
    """Runs one driver; writes `out` and, beside it, the .json of what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--share", type=float, required=True)
    given = parser.parse_args()
    train, out = np.load(given.train.absolute()), given.out.absolute()
    os.chdir(given.folder / INSIDE.get(given.peer, "."))
    sys.path.insert(0, os.getcwd())
    _seed(given.seed)
    started = time.process_time()
    drawn = PEERS[given.peer](train, given.count, given.share)
    trained = time.process_time()
    series = drawn.sample()
    facts = {
        "series": len(series),
        "parameters": drawn.parameters,
        "done": drawn.done,
        "train_cpu_seconds": trained - started,
        "sample_cpu_seconds": time.process_time() - trained,
    }
    np.save(out, series.astype(np.float32))
    out.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()

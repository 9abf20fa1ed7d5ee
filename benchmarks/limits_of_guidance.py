"""What limits the gain of guidance: the estimate of influence, or the number of guidance rows?

    bash train.sh CONFIG
    bash generation.sh CONFIG guidance.kind=none generation.ratio=16 generation.pool=2
    python -m benchmarks.limits_of_guidance CONFIG [--whole FOLDER] [--model gbdt] [--device cuda]
                                            [--without-lstms]

A quarter of the unguided set is the base; sets of its size are chosen from all of it by several
estimates of influence and strengths, and models are trained on them, LSTMs all in one program
(benchmarks/many_lstms.py). AUROC minus that of the unguided sets is given on the guidance rows, on
test rows and, where `--whole` names the same data without sizes, on real series that are in no
split ("unseen"). For "convex, more rows" these are guidance rows too, so only its test rows are
unseen. The linear data-modelling score is measured on random halves of the base.

Estimates: "convex" and "boosted", as influence.estimator; "real", the classifier on real training
rows with the Gauss-Newton matrix; "one" and "six", the same of classifiers trained on the base;
"encoders", a convex guide on the states of those six. `--without-lstms` leaves all but the first
two out.
"""

import argparse
import dataclasses
from functools import partial

import numpy as np
import torch

from benchmarks.many_lstms import as_classifier, auroc, predict, train
from classifier.losses import per_sample_loss
from classifier.training import FitRecipe
from configs import from_sections, load_config
from configs.run_record import run_dir
from data_preprocess.build import load_splits
from data_preprocess.card import markdown_table
from data_preprocess.dataset import concatenate
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.splits import Splits
from data_preprocess.storage.dataset_files import load_dataset
from scripts.influence_report.retraining import repeatability, stratified_halves
from scripts.utility.feature_models import FITS
from scripts.utility.loss_change import best_loss
from scripts.utility.metrics import Predictions
from tardiff.guidance.diagnostics import score_all
from tardiff.guidance.pool_estimate import boosted_estimate, convex_estimate, fit_pool_guide
from tardiff.guidance.pool_selection import choose
from tardiff.influence.convex_guide import LabelledDesign, fit_guide, influence_of
from tardiff.influence.gradient_cache import InfluenceSettings, guide_vector
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.influence.one_step_check import rank_correlation

SHARE = 4  # series to choose from per chosen one
CLASSIFIERS = 6  # of "six" and "encoders"
STRENGTHS = (0.1, 0.2, 0.4)
CPU = torch.device("cpu")
LOSS = GuidanceLoss("rank", 2)


@dataclasses.dataclass(frozen=True)
class Task:
    """Values of the series alone, as the LSTM sees them; `full` rows also hold the masks."""

    pool: EncodedSeries
    base: np.ndarray
    full: dict[str, EncodedSeries]
    values: int

    def seen(self, rows: EncodedSeries) -> EncodedSeries:
        """The values of some rows."""
        return EncodedSeries(rows.x[:, : self.values].contiguous(), rows.y)

    @property
    def downstream_models(self) -> list[str]:
        """The names of the rows that score a model."""
        return [name for name in self.full if name != "train"]

    @property
    def base_rows(self) -> EncodedSeries:
        """A quarter of the pool."""
        return EncodedSeries(self.pool.x[self.base], self.pool.y[self.base])


def task_of(splits: Splits, unguided: EncodedSeries, whole: Splits | None) -> Task:
    """The rows of one configuration; the base has the class shares of the pool."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(unguided.y)))
    pool = EncodedSeries(unguided.x[order], unguided.y[order])
    labels = pool.y.numpy()
    base = [np.flatnonzero(labels == k)[: n // SHARE] for k, n in enumerate(np.bincount(labels))]
    names = {"guide": "val_guide", "select": "val_select", "test": "test", "train": "train"}
    full = {
        name: EncodedSeries.of(getattr(splits, split), splits.normaliser)
        for name, split in names.items()
    }
    if whole is not None:
        mine = [splits.train, splits.val_guide, splits.val_select]
        known = set(np.concatenate([part.subject_ids for part in mine]).tolist())
        every = concatenate(concatenate(whole.train, whole.val_guide), whole.val_select)
        left = np.flatnonzero([one not in known for one in every.subject_ids.tolist()])
        full["unseen"] = EncodedSeries.of(every.take(left), splits.normaliser)
    return Task(pool, np.sort(np.concatenate(base)), full, splits.train.num_channels)


def estimates(
    task: Task, splits: Splits, config, device: torch.device, *, lstms: bool
) -> dict[str, np.ndarray]:
    """Influence of every series of the pool, by the name of the estimate."""
    found = _of_guides(task, splits, config)
    return found | (_of_lstms(task, config, device) if lstms else {})


def _of_guides(task: Task, splits: Splits, config) -> dict[str, np.ndarray]:
    chosen = config.influence
    guide = fit_pool_guide(
        task.base_rows,
        splits.normaliser,
        inputs=config.classifier.inputs,
        penalty=chosen.penalty,
        kernels=chosen.kernels,
        num_classes=2,
        seed=0,
        device=CPU,
    )
    known = {"convex": [task.full["guide"]]}
    if "unseen" in task.full:
        known["convex, more rows"] = [task.full["guide"], task.full["unseen"]]
    select, made = task.full["select"], {}
    for name, parts in known.items():
        rows = EncodedSeries(*(torch.cat([getattr(p, a) for p in parts]) for a in ("x", "y")))
        made[name] = convex_estimate(guide, rows, select, LOSS, seed=0)
    made["boosted"] = boosted_estimate(
        task.base_rows,
        task.full["guide"],
        select,
        LOSS,
        splits.normaliser,
        inputs=config.classifier.inputs,
        seed=0,
    )
    for name, estimate in made.items():
        strength = estimate.strength()
        print(f"{name}: strength {strength.w if strength else None}")
    return {name: _scores(estimate.direction, task.pool) for name, estimate in made.items()}


def _of_lstms(task: Task, config, device: torch.device) -> dict[str, np.ndarray]:
    recipe, real = from_sections(FitRecipe, config.classifier), task.seen(task.full["train"])
    found = {"real": _by_classifiers(task, _trained(task, real, 1, recipe, device), real)[0]}
    base = task.seen(task.base_rows)
    models = _trained(task, base, CLASSIFIERS, recipe, device)
    each = _by_classifiers(task, models, base)
    found["one"] = each[0]
    found["six"] = np.mean([(s - s.mean()) / s.std() for s in each], axis=0)
    found["encoders"] = _by_encoders(task, models, config.influence.penalty)
    return found


def _scores(direction, rows: EncodedSeries) -> np.ndarray:
    return score_all(direction, rows.x, rows.y, CPU, title="influence").double().numpy()


def _trained(task: Task, rows: EncodedSeries, count: int, recipe, device: torch.device) -> list:
    x, y = rows.x.to(device), rows.y.to(device)
    everyone = torch.arange(len(y), device=device).expand(count, -1)
    weights = train(x, y, everyone, _on(device, task.seen(task.full["select"])), recipe, seed=7)
    return [as_classifier(weights, number, x.shape[2]) for number in range(count)]


def _on(device: torch.device, rows: EncodedSeries) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.x.to(device), rows.y.to(device)


def _by_classifiers(task: Task, models: list, trained_on: EncodedSeries) -> list[np.ndarray]:
    settings = InfluenceSettings(
        guidance_loss="rank",
        classes=None,
        preconditioner="ggn_cg",
        damping=0.015,
        cg_iterations=20,
    )
    guide, found = task.seen(task.full["guide"]), []
    for model in models:
        vector, _ = guide_vector(model, guide, trained_on, settings, num_classes=2, seed=0)
        direction = InfluenceDirection(model, per_sample_loss, vector)
        found.append(_scores(direction, task.seen(task.pool)))
    return found


@torch.no_grad()
def _by_encoders(task: Task, models: list, penalty: float) -> np.ndarray:
    def states(rows: EncodedSeries) -> torch.Tensor:
        steps = task.seen(rows).x.transpose(1, 2)
        found = [model.rnn(steps)[0] for model in models]
        return torch.cat([p for s in found for p in (s.mean(1), s.amax(1))], 1).double()

    base = states(task.base_rows)
    mean, scale = base.mean(0), base.std(0) + 1e-6

    def design(rows: EncodedSeries) -> torch.Tensor:
        one = torch.ones(len(rows.y), 1, dtype=torch.float64)
        return torch.cat([(states(rows) - mean) / scale, one], 1)

    guide = fit_guide(design(task.base_rows), task.base_rows.y, num_classes=2, penalty=penalty)
    known = LabelledDesign(design(task.full["guide"]), task.full["guide"].y)
    toward = guide.toward(guide.gradient(known, LOSS))
    return influence_of(design(task.pool), task.pool.y, guide.theta, toward).numpy()


def chosen_rows(task: Task, scores: np.ndarray | None, w: float, draw: int) -> np.ndarray:
    """As many series as the base has, from a pool in the order of this draw."""
    order = torch.from_numpy(np.random.default_rng(draw).permutation(len(task.pool.y)))
    counts, found = np.bincount(task.pool.y[task.base].numpy()), []
    for label, count in enumerate(counts.tolist()):
        mine = order[task.pool.y[order] == label]
        rows = torch.arange(count)
        if scores is not None:
            rows, _ = choose(torch.from_numpy(scores)[mine], count, w, seed=draw)
        found.append(mine[rows])
    return torch.cat(found).numpy()


def score_sets(task: Task, sets: np.ndarray, given, recipe, device: torch.device):
    """AUROC and guidance loss on every kind of rows, each (set, seed)."""
    logits = _lstms if given.model == "lstm" else _feature_models
    found = logits(task, sets, given, recipe, device)
    shape = len(sets), given.seeds
    scores, losses = {}, {}
    for name, rows in found.items():
        y = task.full[name].y
        scores[name] = auroc(rows, y).view(shape).numpy()
        losses[name] = np.array([_loss(row, y) for row in rows]).reshape(shape)
    return scores, losses


def _loss(logits: torch.Tensor, y: torch.Tensor) -> float:
    p = logits.double().sigmoid().numpy()
    found = Predictions(np.stack([1 - p, p], 1), y.numpy(), minority=1, threshold=0.5)
    return best_loss(found, LOSS)


def _lstms(task: Task, sets: np.ndarray, given, recipe, device: torch.device):
    x, y = _on(device, task.seen(task.pool))
    rows = torch.from_numpy(sets).to(device).repeat_interleave(given.seeds, 0)
    weights = train(x, y, rows, _on(device, task.seen(task.full["select"])), recipe, seed=0)
    return {
        name: predict(weights, task.seen(task.full[name]).x.to(device)).cpu()
        for name in task.downstream_models
    }


def _feature_models(task: Task, sets: np.ndarray, given, recipe, _: torch.device):
    def arrays(rows: EncodedSeries) -> tuple[np.ndarray, np.ndarray]:
        return task.seen(rows).x.numpy(), rows.y.numpy()

    (x, y), select = arrays(task.pool), arrays(task.full["select"])
    found: dict[str, list[np.ndarray]] = {name: [] for name in task.downstream_models}
    for rows in sets:
        for seed in range(given.seeds):
            model = FITS[given.model](
                (x[rows], y[rows]), select, class_weight=recipe.class_weight, seed=seed
            )
            for name, logits in found.items():
                p = model(arrays(task.full[name])[0])[:, 1].clip(1e-6, 1 - 1e-6)
                logits.append(np.log(p / (1 - p)))
    return {name: torch.from_numpy(np.stack(logits)) for name, logits in found.items()}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.limits_of_guidance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--whole", help="folder of the same data, built without sizes")
    parser.add_argument("--model", choices=("lstm", *FITS), default="lstm", help="that is trained")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--halves", type=int, default=96, help="0: no data-modelling score")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--without-lstms", action="store_true", help="as estimates of influence")
    given, argv = parser.parse_known_args()
    config, device = load_config(argv), torch.device(given.device)
    splits = load_splits(config.data)
    whole = None
    if given.whole:
        sizes = {"train_size": None, "guide_size": None, "select_size": None}
        whole = load_splits(dataclasses.replace(config.data, dir=given.whole, **sizes))
    unguided = load_dataset(run_dir(config) / "synthetic" / "unguided.npz")
    task = task_of(splits, EncodedSeries.of(unguided, splits.normaliser), whole)
    found = estimates(task, splits, config, device, lstms=not given.without_lstms)
    recipe = from_sections(FitRecipe, config.classifier)
    _print_gains(task, found, given, recipe, device)
    if given.halves:
        _print_scores(task, found, given, recipe, device)


def _print_gains(task: Task, found, given, recipe, device: torch.device) -> None:
    kinds = [("unguided", 0.0), *((name, w) for name in found for w in STRENGTHS)]
    sets = [
        chosen_rows(task, found.get(name), w, draw)
        for name, w in kinds
        for draw in range(given.draws)
    ]
    scores, _ = score_sets(task, np.stack(sets), given, recipe, device)
    per_draw = {k: s.mean(1).reshape(len(kinds), given.draws) for k, s in scores.items()}
    print(f"\nunguided AUROC: { ({k: round(float(s[0].mean()), 4) for k, s in per_draw.items()}) }")
    rows = []
    for number, (name, w) in enumerate(kinds[1:], 1):
        gains = {k: s[number] - s[0] for k, s in per_draw.items()}
        error = partial(np.std, ddof=1)
        cells = [
            f"{gain.mean():+.4f} +- {error(gain) / given.draws**0.5:.4f}" for gain in gains.values()
        ]
        rows.append([name, f"{w:g}", *cells])
    print(markdown_table(["influence of", "w", *per_draw], rows))


def _print_scores(task: Task, found, given, recipe, device: torch.device) -> None:
    halves = stratified_halves(task.pool.y[task.base].numpy(), given.halves, seed=0)
    halves = task.base[halves]
    _, losses = score_sets(task, halves, given, recipe, device)
    rows = []
    for name, scores in found.items():
        sums = scores[halves].sum(1)
        outcomes = [torch.from_numpy(-loss.mean(1)) for loss in losses.values()]
        cells = [f"{rank_correlation(torch.from_numpy(sums), one):+.2f}" for one in outcomes]
        rows.append([name, *cells])
    repeats = [repeatability(-loss) for loss in losses.values()]
    rows.append(["repeatability", *("-" if r is None else f"{r:.2f}" for r in repeats)])
    print(markdown_table(["data-modelling score", *losses], rows))


if __name__ == "__main__":
    main()

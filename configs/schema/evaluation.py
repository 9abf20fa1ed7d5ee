"""The sections of a config about evaluation: stage 4, tuning, the matrix, the influence report."""

from dataclasses import dataclass

from configs.schema.fields import many, number, path

PROTOCOLS = ("TRTR", "TSTR", "TRTS", "TSRTR")
BASELINES = (
    "guide_rows",
    "guide_only",
    "reweighted",
    "oversampling",
    "class_weights",
    "smote",
    "jitter",
    "scaling",
    "time_warp",
)
ESTIMATORS = ("convex", "boosted", "classifier")
CONFIGURATIONS = (
    "guided",
    "unguided_as_sampled",
    "pushed",
    "classifier_guided",
    "paper",
    "unguided_with_guide_rows",
)


@dataclass(frozen=True)
class InfluenceReportConfig:
    """What the influence of which series is reported (scripts/influence_report/__main__.py)."""

    # Splits but test, or files of synthetic series.
    sets: list[str] = many("train", "val_select", paths=True)
    guide_sizes: list[int] = many(32, 64, 128, 256, 512)  # of the size curve; larger: left out
    step_rows: int = number(200, low=10)  # series whose step is measured
    # Retraining in place of all that (influence_report/retraining.py): does influence predict it on
    # random halves of unguided series (the linear data-modelling score), and what does the tilt of
    # stage 3 change on some of them?
    lds: bool = False
    lds_estimators: list[str] = many(*ESTIMATORS, among=ESTIMATORS, filled=True)
    lds_model: str | None = None  # that is retrained; None: the first of evaluation.models
    lds_subsets: int = number(36, low=8)
    lds_seeds: list[int] = many(0, 1, least=0, filled=True, distinct=True)  # of each retraining


@dataclass(frozen=True)
class EvaluationConfig:
    """Stage 4: which protocols measure which sets (scripts/evaluate.py)."""

    dir: str = "evaluation"  # folder of the results, below runs/<experiment>
    # Files, or names of sets of this experiment; None: all of runs/<experiment>/synthetic
    synthetic: list[str] | None = path()
    protocols: list[str] = many("TRTR", "TSTR", "TRTS", "TSRTR", among=PROTOCOLS)
    # TSRTR, synthetic : real; the real-only baseline (ratio 0) is always included.
    ratios: list[float] = many(0.2, 0.4, 0.6, 0.8, 1.0, positive=True)
    # classifier: that section's; gbdt, rocket, lstm, gru, conv, timesnet; each of these with +mask
    # too; or package.module:Class (utility/downstream.py). The first decides on usefulness.
    models: list[str] = many("classifier", filled=True, distinct=True)
    # Real-only training made better without a generator, protocol TRTR+ (utility/training_rows.py).
    baselines: list[str] = many("guide_rows", among=BASELINES)
    seeds: list[int] = many(0, 1, 2, 3, 4, least=0, filled=True, distinct=True)
    fidelity: bool = True  # measure how close each set is to real series that no model saw
    privacy: bool = True  # measure what each set gives away about the training series
    # TimeGAN's discriminative and predictive score too, to stand beside other papers' tables
    # (scripts/quality/published/timegan.py); no verdict reads them. A set takes about 85 CPU
    # seconds (estimated from shorter runs).
    published: bool = False
    show_real_series: bool = (
        False  # draw single real series, which are patient records, as examples
    )
    bootstrap: int = number(1000, low=100)  # resamples of the test series
    workers: int = number(0, low=0)  # processes of this machine; 0: one per core


@dataclass(frozen=True)
class TuningConfig:
    """Choice of guidance.w and sampler.cfg_scale by AUROC on val_select (scripts/tune.py)."""

    # Negative strengths are drawn as controls and never chosen; 0 must be a candidate.
    w: list[float] = many(-0.2, 0.0, 0.1, 0.2, 0.4)
    cfg_scale: list[float] = many(1.0)
    # TSRTR: as many synthetic rows as real ones.
    protocols: list[str] = many("TSTR", "TSRTR", among=("TSTR", "TSRTR"), filled=True)
    model: str = "classifier"  # as one of evaluation.models
    seeds: list[int] = many(0, 1, 2, least=0, filled=True, distinct=True)


@dataclass(frozen=True)
class MatrixConfig:
    """What scripts/matrix.py evaluates beside the tuning grid: real-only baselines and sets."""

    baselines: list[str] = many(*BASELINES, among=BASELINES)

    configurations: list[str] = many(*CONFIGURATIONS, among=CONFIGURATIONS)

"""The typed description of one experiment: every knob of the four stages, its unit, its default.

One YAML holds one experiment and states its task and what differs from the defaults below, so two
stages can never disagree. Standard library only; `configs.load_config` turns a YAML and overrides
into an `ExperimentConfig`, and `check` in `configs/schema/checks.py` enforces the choices and
bounds declared here. Classes elsewhere take plain keyword arguments: no library code imports this
file.
"""

from dataclasses import dataclass, field
from typing import Any

from configs.schema.data_sources import SOURCES, Sources, SpaceConfig
from configs.schema.evaluation import (
    EvaluationConfig,
    InfluenceReportConfig,
    MatrixConfig,
    TuningConfig,
)
from configs.schema.fields import MISSING, choice, many, number, path


@dataclass(frozen=True)
class DataConfig(Sources):
    """Where the series come from and how they are split; see docs/data.md."""

    source: str = choice(*SOURCES)
    dir: str = path("data/${experiment}")  # splits, normaliser and data card
    rebuild: bool = False  # replace splits that were built with other settings
    seed: int = number(0, low=0)  # of the split and of the simulator
    task: str = choice("mortality", "icustay", "sepsis")  # icustay: length of stay > los_days
    los_days: float = number(3.0, low=0.0)
    window_hours: float = number(24.0, low=0.0, open_low=True)
    step_minutes: float = number(60.0, low=0.0, open_low=True)
    # Shares of the pool (by patient, stratified); what is left is train. `test` is ignored where
    # the source brings its own test set.
    val_guide: float = number(0.1, low=0.0, high=0.9)
    val_select: float = number(0.1, low=0.0, high=0.9)
    test: float = number(0.2, low=0.0, high=0.9)
    # Absolute sizes in stays; a size given here wins over the share above.
    train_size: int | None = number(None, low=2)
    guide_size: int | None = number(None, low=2)
    select_size: int | None = number(None, low=2)
    # Only stays with these static covariates, such as {icu_type: [4]}; docs/data.md. Empty: all.
    train_where: dict[str, list[float]] = field(default_factory=dict)
    guide_where: dict[str, list[float]] = field(default_factory=dict)
    select_where: dict[str, list[float]] = field(default_factory=dict)
    test_where: dict[str, list[float]] = field(default_factory=dict)
    normaliser: str = choice("zscore", "quantile")
    clip: float = number(6.0, low=1.0)  # model-space bound, in training standard deviations
    space: SpaceConfig = field(default_factory=SpaceConfig)
    memory_limit: str = "1GB"  # of DuckDB, where raw tables are read; more is spilled to TMPDIR
    threads: int = number(0, low=0)  # of DuckDB; 0: one per core


@dataclass(frozen=True)
class PrivateConfig:
    """Differentially private training of the denoiser; docs/reliability.md."""

    epsilon: float | None = number(None, low=0.0, open_low=True)  # None: not private
    delta: float | None = number(None, low=0.0, high=0.1, open_low=True)  # None: 1 / patients^1.1
    max_grad_norm: float = number(1.0, low=0.0, open_low=True)  # bound of one patient's gradient


@dataclass(frozen=True)
class DiffusionConfig:
    """Stage 1, the label-conditional diffusion model (tardiff/train.py)."""

    network: str = choice("unet", "published_unet")  # docs/earlier_results.md compares them
    prediction: str = choice("v", "eps", "x0")
    schedule: str = choice("cosine", "linear")  # linear: the paper's discrete betas below
    num_steps: int = number(200, low=2)  # linear schedule only
    beta_start: float = number(5e-4, low=0.0, high=1.0, open_low=True, open_high=True)
    beta_end: float = number(0.1, low=0.0, high=1.0, open_low=True, open_high=True)
    observed_only: bool = True  # loss on measured entries only
    width: int = number(32, low=8)  # times a multiplier: of a level; a multiple of 8
    # Of the levels, finest first.
    multipliers: list[int] = many(2, 3, positive=True, filled=True)
    blocks_per_level: int = number(1, low=1)
    patch: int = number(2, low=1, high=512)  # unet: grid points per token of the first level
    heads: int = number(4, low=1)  # unet: of the attention; must divide width
    attention_levels: list[int] = many()  # published_unet: indices into multipliers
    # Series drawn after training to match the marginal distributions of the training series
    # (tardiff/diffusion/quantile_mapping.py); 0: they stay as drawn.
    marginal_rows: int = number(2048, low=0)
    label_dropout: float = number(0.1, low=0.0, high=0.9)  # enables classifier-free guidance
    # Batches draw each class equally often: a rare class is learned sooner, and then memorised
    # (docs/earlier_results.md).
    class_balanced: bool = False
    # Train on the guidance rows too: the fair upper comparison of guidance (docs/method.md).
    include_guide: bool = False
    batch_size: int = number(64, low=1)
    # Of a batch, series per forward and backward pass; auto: all that fit into memory. The gradient
    # is that of the whole batch whatever this is; a pass over less costs a forward pass more.
    micro_batch: Any = number("auto", low=1, words=("auto",), whole=True)
    max_steps: int = number(3000, low=1)  # raised, a training goes on from where it ended
    learning_rate: float = number(3e-3, low=0.0, open_low=True)
    weight_decay: float = number(1e-4, low=0.0)
    warmup_steps: int = number(100, low=0)
    gradient_clip: float = number(1.0, low=0.0)
    ema_decay: float = number(0.999, low=0.0, high=1.0)
    val_every: int = number(250, low=1)  # steps between held-out evaluations and checkpoints
    patience: int = number(6, low=0)  # evaluations without improvement before stopping; 0: never
    # Mixed gained only in batches of 4,096 on a GPU (benchmarks/results.md).
    precision: str = choice("32-true", "bf16-mixed")
    private: PrivateConfig = field(default_factory=PrivateConfig)


@dataclass(frozen=True)
class ClassifierConfig:
    """Stage 2, the task classifier, and the recipe of every downstream model (classifier/)."""

    # package.module:Class, or in short rnn, conv or timesnet.
    model: str = "classifier.models.networks:RNNClassifier"
    model_args: dict[str, Any] = field(default_factory=dict)
    # Which parts of a series it sees: values, mask, time (since the last measurement), static.
    inputs: list[str] = many("values")
    checkpoint_dir: str = path("classifier/checkpoint/${experiment}")
    class_weight: str = choice("none", "balanced")
    batch_size: int = number(64, low=1)
    max_epochs: int = number(200, low=1)
    # Training stops after so many epochs, and at least so many steps, without improvement.
    patience: int = number(8, low=1)
    patience_steps: int = number(500, low=0)
    learning_rate: float = number(2e-3, low=0.0, open_low=True)
    weight_decay: float = number(1e-4, low=0.0)


@dataclass(frozen=True)
class InfluenceConfig:
    """How the usefulness of a series is estimated (docs/method.md)."""

    # Trained on the unguided series, convex: logistic regression on fixed features
    # (tardiff/influence/convex_guide.py), boosted: gradient boosting (../boosted_guide.py), for
    # guidance.by=choose. auto: boosted where the first of evaluation.models is gbdt, else convex.
    # classifier: the classifier of stage 2, as in the paper.
    estimator: str = choice("auto", "convex", "boosted", "classifier")
    penalty: float = number(0.1, low=0.0, open_low=True)  # convex: of the squared weights
    kernels: int = number(64, low=0)  # convex: random convolutions, two features each
    guidance_loss: str = choice("auto", "rank", "balanced", "nll")  # auto: rank if binary
    classes: list[int] | None = None  # only guidance rows of these classes; None: all
    # convex: a guide with an exported G, used instead of the guidance rows.
    vector: str | None = path()
    # The rest is of the classifier alone.
    preconditioner: str = choice("ggn_cg", "none")
    damping: float = number(0.015, low=0.0, open_low=True)  # times the largest GGN eigenvalue
    cg_iterations: int = number(20, low=1)  # of conjugate gradients, at most


@dataclass(frozen=True)
class ExportConfig:
    """A guide as a file (tardiff/fit_guide.py), and with the G of guidance rows
    (tardiff/export_guidance.py)."""

    # A guide of python -m tardiff.fit_guide; None: fitted here, which takes the generator.
    guide: str | None = path()
    rows: str | None = path()  # a data set file with the guidance rows; None: the val_guide split
    path: str | None = path()  # None: guide.pt or guidance.pt in runs/<experiment>
    epsilon: float | None = number(None, low=0.0, open_low=True)  # privacy; None: no noise
    delta: float = number(1e-5, low=0.0, high=0.1, open_low=True)


@dataclass(frozen=True)
class GuidanceConfig:
    """What is preferred, how strongly, and by which means."""

    # classifier: log p(label) of the classifier of stage 2, in place of influence.
    kind: str = choice("influence", "classifier", "none")
    # choose: series from the pool of unguided series (tardiff/guidance/pool_selection.py).
    # push: the estimate of every sampling step is moved (tardiff/guidance/guided_denoiser.py).
    by: str = choice("choose", "push")
    # Realised shift of the mean influence, unguided standard deviations. auto: what rows
    # unknown to G support (tardiff/guidance/auto_strength.py). tuned: what scripts/tune.sh chose.
    w: Any = number("auto", words=("auto", "tuned"))
    # Guide although a tilted set did not help (bash scripts/influence.sh lds=true).
    force: bool = False
    # The rest is of push.
    interval: list[float] = many(0.2, 0.8)  # share of the sampling steps, from the noisy end
    # Of every series rms(shift) <= trust * sigma of the step.
    trust: float = number(1.0, low=0.0, open_low=True)
    pilot_rows: int = number(256, low=8)  # series per class of the pilot
    paper_w: float = number(100.0)  # compat=paper only: the paper's raw multiplier of J


@dataclass(frozen=True)
class SamplerConfig:
    """The reverse process (tardiff/diffusion/samplers.py)."""

    name: str = choice("dpmpp_2m", "ddim")
    num_steps: int = number(15, low=2)
    # Starting at -7 with pure noise would pull every mean 3 % towards 0 (docs/method.md).
    log_snr_min: float = number(-10.0, low=-11.0)
    log_snr_max: float = number(9.0, high=11.0)
    eta: float = number(0.0, low=0.0, high=1.0)  # ddim only; 1: DDPM
    # Classifier-free guidance; 1: off, tuned: as guidance.w.
    cfg_scale: Any = number(1.0, low=0.0, words=("tuned",))
    # Series per denoiser call; auto: 256 on a CPU, 4096 on a GPU, fewer where memory is short.
    batch_size: Any = number("auto", low=1, words=("auto",), whole=True)


@dataclass(frozen=True)
class GenerationConfig:
    """Stage 3: how many series of each label, and under which name (tardiff/generate.py)."""

    name: str | None = None  # None: named after the guidance
    ratio: float = number(1.0, low=0.0, open_low=True)  # synthetic : train, per class
    counts: list[int] | None = None  # explicit number per class; wins over ratio
    seed: int = number(0, low=0)
    # Unguided series sampled per series asked for, from which both sets are drawn: those that lie
    # where training series do (resample), and by influence (guidance.by=choose).
    pool: int = number(4, low=2)
    # Toward the training series (tardiff/generation/density_ratio.py). auto: unless guidance stays
    # are of another population, the sampler is pushed or the model is private.
    resample: str = choice("auto", "always", "never")
    unguided_too: bool = True  # write the unguided set from the same noise beside it
    allow_copies: bool = (
        False  # release series that copy a training stay (tardiff/privacy/memorisation.py)
    )
    # Processes, each with one thread; 0: one per core. A GPU has one.
    workers: int = number(0, low=0)


@dataclass(frozen=True)
class ProcessesConfig:
    """Where the worker processes of stages 3 and 4 run (configs/runtime/processes.py)."""

    # loky: generation.workers and evaluation.workers processes of this machine; dask: the workers
    # of a dask.distributed cluster, which share this folder (docs/scaling.md).
    backend: str = choice("loky", "dask")
    scheduler: str | None = None  # dask: tcp://host:port; None: DASK_SCHEDULER_ADDRESS


@dataclass(frozen=True)
class ExperimentConfig:
    """All of one experiment. `experiment` names its folders and is the only required key."""

    experiment: str = MISSING
    runs_dir: str = path("runs")
    seed: int = number(0, low=0)  # of training
    compat: str = choice("none", "paper")  # paper: Algorithm 1 as printed
    # auto: a CUDA GPU where there is one, else the CPU, also on a Mac (configs/runtime/device.py).
    accelerator: str = choice("auto", "cpu", "gpu", "cuda")
    devices: str = "auto"
    num_nodes: int = number(1, low=1)
    strategy: str = "auto"
    data: DataConfig = field(default_factory=DataConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    influence: InfluenceConfig = field(default_factory=InfluenceConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    influence_report: InfluenceReportConfig = field(default_factory=InfluenceReportConfig)
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    processes: ProcessesConfig = field(default_factory=ProcessesConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    matrix: MatrixConfig = field(default_factory=MatrixConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

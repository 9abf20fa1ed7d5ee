"""The `data.<source>` and `data.space` sections.

A new source adds its section here, and a line of Sources that names it; its reader registers itself
(data_preprocess/sources/registry.py).
"""

import dataclasses
from dataclasses import dataclass, field

from configs.schema.fields import choice, many, number, path

VITALS = (
    "heart_rate",
    "systolic_pressure",
    "diastolic_pressure",
    "mean_pressure",
    "temperature",
    "gcs",
    "urine",
)
BEDSIDE = (
    "heart_rate",
    "systolic_pressure",
    "diastolic_pressure",
    "mean_pressure",
    "respiratory_rate",
    "temperature",
    "spo2",
)


@dataclass(frozen=True)
class SimulatedConfig:
    """The embedded cohort (data_preprocess/sources/simulated/cohort.py)."""

    num_subjects: int = number(3000, low=50)
    prevalence: float = number(0.09, low=0.01, high=0.5)  # share of positive stays
    num_channels: int = number(7, low=1, high=16)
    num_steps: int = number(24, low=4)  # grid points per stay
    # How much it depends on the unit which phenotype is deadly: 0 not at all, 1 in full.
    unit_effect: float = number(0.0, low=0.0, high=1.0)


@dataclass(frozen=True)
class PhysioNet2012Config:
    """PhysioNet/CinC Challenge 2012 (data_preprocess/sources/physionet/challenge2012.py)."""

    folder: str = path("data/raw/physionet2012")  # set-a.tar.gz (or set-a/), Outcomes-a.txt, ...
    train_set: str = "a"  # becomes train / val_guide / val_select
    test_set: str | None = "b"  # None: the test split is drawn from train_set instead
    channels: list[str] = many(*VITALS)


@dataclass(frozen=True)
class PhysioNet2019Config:
    """PhysioNet/CinC Challenge 2019 (data_preprocess/sources/physionet/challenge2019.py)."""

    folder: str = path("data/raw/physionet2019")  # holds training_setB.tar.gz (or training_setB/)
    train_set: str = "B"  # becomes train / val_guide / val_select, and test where there is no other
    test_set: str | None = None  # "A": the other hospital
    channels: list[str] = many(*BEDSIDE)


@dataclass(frozen=True)
class FilesConfig:
    """Arrays at hand: .npz, (data, label) .pkl, or .npy pairs (sources/arrays.py)."""

    train: str | None = path()
    val: str | None = path()  # None: drawn from train
    test: str | None = path()  # None: drawn from train
    channels: list[str] | None = None  # names with units, in channel order; None: channel_0, ...


@dataclass(frozen=True)
class Mimic4Config:
    """MIMIC-IV as PhysioNet ships it, with hosp/ and icu/ (sources/hospital/mimic.py)."""

    folder: str | None = path()  # holds CHARTEVENTS.csv.gz, ...; only building needs it
    preset: str = choice("clinical", "paper")  # cohort, time zero and value per step
    channels: list[str] = many(*BEDSIDE)  # names in data_preprocess/sources/hospital/variables.yaml


@dataclass(frozen=True)
class Mimic3Config(Mimic4Config):
    """MIMIC-III as PhysioNet ships it (data_preprocess/sources/hospital/mimic.py)."""

    allow_other_counts: bool = False  # paper preset: accept a full release that differs


@dataclass(frozen=True)
class EicuConfig(Mimic3Config):
    """The eICU Collaborative Research Database as PhysioNet ships it (sources/hospital/eicu.py):
    patient.csv.gz, vitalPeriodic.csv.gz, ..."""

    channels: list[str] = many("heart_rate", "respiratory_rate", "spo2")


@dataclass(frozen=True)
class TableConfig:
    """Your own table (docs/data.md)."""

    # .csv, .csv.gz or .parquet: id,time,variable,value or one column each
    series: str | None = path()
    labels: str | None = path()  # the same formats: id,label[,subject]; None: columns of `series`
    layout: str = choice("long", "wide", "meds")
    id: str = "id"  # column that names a series
    time: str = "time"  # minutes from the window's start, a length of time, or a time stamp
    variable: str = "variable"  # long only
    value: str = "value"  # long only
    label: str = "label"
    subject: str | None = None  # column that names the patient; None: every id is its own patient
    # Columns of `labels`: time zero of a series (None: the first value, or 0); its last moment,
    # from which the window counts back where there is no start (meds: prediction_time if there).
    start: str | None = None
    end: str | None = None
    static: list[str] = many()  # columns of `labels` that become static covariates: age, sex
    channels: list[str] | None = None  # variables in channel order; None: all, sorted by name
    classes: list[str] | None = None  # labels in class order; None: by number or name
    # Plausible values per channel, such as {spo2: [10, 100]}; others count as not measured.
    ranges: dict[str, list[float]] = field(default_factory=dict)
    time_unit: str = choice("minutes", "seconds", "hours", "days")  # of times that are numbers
    decimal: str = choice(".", ",")  # of CSV cells
    drop_unreadable: bool = False  # leave out cells that cannot be read; False: refuse the table
    drop_outside: bool = False  # accept that more than half of the values lie outside the window


@dataclass(frozen=True)
class MedformerConfig:
    """Labelled recordings in Medformer's layout (data_preprocess/sources/medformer.py)."""

    folder: str | None = path()  # holds Feature/feature_XX.npy and Label/label.npy
    classes: list[str] | None = None  # class names in label order; None: class_0, ...
    channels: list[str] | None = None  # names in channel order; None: channel_0, ...
    test_subjects: list[int] | None = None  # fixed test set; None: drawn from the pool
    val_subjects: list[int] | None = None


@dataclass(frozen=True)
class PtbConfig:
    """The PTB Diagnostic ECG Database as PhysioNet ships it (data_preprocess/sources/ptb.py)."""

    folder: str | None = path()  # holds patientXXX/*.hea and *.dat


@dataclass(frozen=True)
class YaibConfig:
    """A cohort of YAIB, ricu or OpenICU (data_preprocess/sources/yaib/reader.py)."""

    folder: str | None = path()  # holds dyn.parquet, sta.parquet and outc.parquet
    channels: list[str] | None = None  # YAIB's names (hr) or ours (heart_rate); None: all
    # Labels by hour become one: that of the window's last hour, the largest of the stay, positive
    # after the window, or a remaining stay above data.los_days. Ignored where a stay has one label.
    rule: str = choice("last", "max", "later", "longer")
    classes: list[str] | None = None  # names in label order; None: the labels
    subjects: str | None = path()  # table stay -> patient or hospital; None: each its own patient
    subject_key: str = "stay_id"  # its column of stays
    subject: str = "subject"  # its column of patients or hospitals: none is in two splits


@dataclass(frozen=True)
class MedsConfig:
    """A MEDS data set, 0.4 or before (data_preprocess/sources/meds/reader.py)."""

    folder: str | None = path()  # holds data/**/*.parquet, and metadata/ where there is one
    labels: str | None = path()  # a table, or a folder of shards; None: <folder>/labels.parquet
    mapping: str | None = path()  # YAML: channels by codes; None: <folder>/channels.yaml
    label: str | None = None  # the column of the labels; None: the one that is filled
    classes: list[str] | None = None  # names in label order; None: the labels
    splits: bool = False  # train, tuning and held_out of metadata/subject_splits.parquet
    subject_id: str = "subject_id"  # what the columns are called, if not as in the standard
    time: str = "time"
    code: str = "code"
    value: str = "numeric_value"


@dataclass(frozen=True)
class Sources:
    """One section per source; `data.source` chooses."""

    simulated: SimulatedConfig = field(default_factory=SimulatedConfig)
    physionet2012: PhysioNet2012Config = field(default_factory=PhysioNet2012Config)
    physionet2019: PhysioNet2019Config = field(default_factory=PhysioNet2019Config)
    files: FilesConfig = field(default_factory=FilesConfig)
    mimic3: Mimic3Config = field(default_factory=Mimic3Config)
    mimic4: Mimic4Config = field(default_factory=Mimic4Config)
    eicu: EicuConfig = field(default_factory=EicuConfig)
    table: TableConfig = field(default_factory=TableConfig)
    medformer: MedformerConfig = field(default_factory=MedformerConfig)
    ptb: PtbConfig = field(default_factory=PtbConfig)
    yaib: YaibConfig = field(default_factory=YaibConfig)
    meds: MedsConfig = field(default_factory=MedsConfig)


SOURCES = tuple(section.name for section in dataclasses.fields(Sources))


@dataclass(frozen=True)
class SpaceConfig:
    """Channel types, masks and static covariates (model_space/encoding.py, docs/data.md).

    Names are given with or without their unit.
    """

    # Per channel: continuous, positive, zero_inflated, bounded, integer or binary.
    types: dict[str, str] = field(default_factory=dict)
    rounded: bool = False  # generated values to the step in which a channel is charted
    masks: bool = False  # generate when something was measured together with its value
    static: list[str] = many()  # static covariates generated with the series
    # Channels whose values rise in this order, such as [[diastolic_pressure, systolic_pressure]].
    ordered: list[list[str]] = many()
    # Channels that are measured at the same moments, such as the pressures of one cuff: one
    # generated mask for all.
    together: list[list[str]] = many()

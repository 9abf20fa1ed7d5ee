"""read_ptb: the PTB Diagnostic ECG Database as PhysioNet ships it -> one sample per heartbeat.

Healthy controls against myocardial infarction, 15 leads in mV, as the published comparisons use it.
Needs the optional package wfdb (`pip install -e .[ecg]`).
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.signal import butter, find_peaks, resample_poly, sosfiltfilt
from tqdm import tqdm

from configs.runtime.errors import DataError, MissingInputError, optional
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.registry import Settings, SourceData, reader, require_folder

CLASSES = {"healthy control": 0, "myocardial infarction": 1}
_SEARCH_LEAD = "ii"
_BEFORE_PEAK = 1 / 3  # share of the sample that lies before the R peak
_REFRACTORY_SECONDS = 0.3


@reader("ptb")
def read_ptb(section: Any, settings: Settings) -> SourceData:
    """Heartbeats of all records of the two diagnoses.

    Args:
        section: folder: holds patientXXX/*.hea with their .dat and .xyz files.
        settings: the window is the length of a sample; the record is resampled to one value per
            step (configs/base/ptb.yaml: 1.2 s at 250 values per second).

    Raises:
        UserError: wfdb is not installed.
        MissingInputError: no record in the folder.
        DataError: a record is damaged or lacks lead II, or no beat is found.
    """
    root = require_folder(section.folder, "ptb")
    wfdb = optional("wfdb", extra="ecg", needed_by="data.source=ptb")
    headers = sorted(root.glob("patient*/*.hea"))
    if not headers:
        raise MissingInputError(f"{root}: no patient*/*.hea; expected PhysioNet's ptbdb folder")
    num_steps, rate = settings.num_steps, 1 / (settings.step_minutes * 60)
    beats, labels, subjects, leads = [], [], [], ()
    used = 0
    for path, label in _labelled(wfdb, headers):
        try:
            record = wfdb.rdrecord(str(path.with_suffix("")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: damaged or incomplete record ({error})") from error
        names = tuple(str(name).lower() for name in record.sig_name)
        if leads and names != leads:
            raise DataError(f"{path}: leads {names}, expected {leads} as in the records before")
        leads, used = names, used + 1
        found = record_beats(record.p_signal, names, float(record.fs), rate, num_steps, path)
        beats.append(found)
        labels += [label] * len(found)
        subjects += [int(path.parent.name.removeprefix("patient"))] * len(found)
    if not labels:
        raise DataError(f"{root}: no heartbeat in {used} records of {', '.join(CLASSES)}")
    flow = (
        FlowStep("records", 0, len(headers)),
        FlowStep("other diagnosis than the two classes", len(headers) - used, used),
    )
    cohort = Cohort(
        values=np.concatenate(beats),
        labels=np.array(labels, np.int64),
        subject_ids=np.array(subjects, np.int64),
        feature_names=tuple(f"{lead}[mV]" for lead in leads),
        label_names=tuple(CLASSES),
        static=np.zeros((len(labels), 0), np.float32),
        static_names=(),
        flow=flow,
        notes=(f"heartbeats found in {used:,} records: {len(labels):,}",),
    )
    return SourceData(cohort, files=(root,))


def record_beats(
    signal: Float[np.ndarray, "sample lead"],
    leads: tuple[str, ...],
    recorded_rate: float,
    rate: float,
    num_steps: int,
    path: Path,
) -> Float[np.ndarray, "beat lead step"]:
    """The beats of one record, each `num_steps` values around its R peak."""
    if _SEARCH_LEAD not in leads:
        raise DataError(f"{path}: no lead {_SEARCH_LEAD}; it has {', '.join(leads)}")
    up, down = _ratio(rate, recorded_rate, path)
    resampled = resample_poly(np.nan_to_num(signal), up, down, axis=0)
    peaks = r_peaks(resampled[:, leads.index(_SEARCH_LEAD)], rate)
    starts = peaks - round(_BEFORE_PEAK * num_steps)
    starts = starts[(starts >= 0) & (starts + num_steps <= len(resampled))]
    beats = [resampled[start : start + num_steps].T for start in starts]
    empty = np.zeros((0, len(leads), num_steps), np.float32)
    return np.array(beats, np.float32) if beats else empty


def r_peaks(lead: Float[np.ndarray, " sample"], rate: float) -> Int[np.ndarray, " beat"]:
    """Sample numbers of the R peaks: maxima of the 5-20 Hz energy, at least 0.3 s apart."""
    sections = butter(2, [5.0, 20.0], btype="bandpass", fs=rate, output="sos")
    energy = np.abs(sosfiltfilt(sections, lead))
    # The 98th percentile is the height of a typical QRS complex, whatever the amplitude in mV.
    typical = float(np.percentile(energy, 98))
    distance = max(1, round(_REFRACTORY_SECONDS * rate))
    return find_peaks(energy, height=0.5 * max(typical, 1e-6), distance=distance)[0]


def _ratio(rate: float, recorded: float, path: Path) -> tuple[int, int]:
    up, down = round(rate), round(recorded)
    if abs(up - rate) > 1e-3 * rate or abs(down - recorded) > 1e-6:
        raise DataError(
            f"{path}: cannot resample {recorded:g} to {rate:g} values per second; choose "
            "data.step_minutes so that a whole number of values fits into a second"
        )
    return up, down


def _labelled(wfdb: ModuleType, headers: list[Path]) -> Iterator[tuple[Path, int]]:
    """Records whose reason for admission is one of CLASSES, with their label."""
    for path in tqdm(headers, desc="read PTB", unit="record", disable=None):
        comments = " ".join(wfdb.rdheader(str(path.with_suffix(""))).comments).lower()
        reason = comments.partition("reason for admission:")[2].strip()
        for name, label in CLASSES.items():
            if reason.startswith(name):
                yield path, label

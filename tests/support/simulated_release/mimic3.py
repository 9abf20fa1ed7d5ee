"""The raw simulator's MIMIC-III: both charting systems, their units, and rows nobody asked for."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.simulated_release import charting as chart
from tests.support.simulated_release.charting import Readings
from tests.support.simulated_release.stays import RawStays, timestamps
from tests.support.simulated_release.writer import TableWriter

STEPS, STEP_SECONDS = 24, 3600
FAULT_KINDS = chart.FAULTS[1:]
CHART_COLUMNS = (
    "ROW_ID SUBJECT_ID HADM_ID ICUSTAY_ID ITEMID CHARTTIME STORETIME CGID VALUE VALUENUM VALUEUOM "
    "WARNING ERROR RESULTSTATUS STOPPED"
).split()

# Items per channel, CareVue then MetaVision: [usual, second device]; temperature: [F, C].
ITEMS = {
    "heart_rate": ([211, 211], [220045, 220045]),
    "systolic_pressure": ([455, 51], [220179, 220050]),
    "diastolic_pressure": ([8441, 8368], [220180, 220051]),
    "mean_pressure": ([456, 52], [220181, 220052]),
    "respiratory_rate": ([618, 618], [220210, 220210]),
    "temperature": ([678, 676], [223761, 223762]),
    "spo2": ([646, 646], [220277, 220277]),
}
_ITEM_TABLE = np.array([ITEMS[name] for name in chart.CHANNELS])  # channel, system, device
_UNITS = ("bpm", "mmHg", "mmHg", "mmHg", "insp/min", "?C", "%", "?F")  # by channel, then F
_FAHRENHEIT = len(_UNITS)
# What else is charted: texts, and numbers that only look like vital signs (alarm limits,
# ventilator settings, a skin probe). None of it may reach the arrays.
OTHER_ITEMS = np.array([220048, 224650, 223781, 226253, 224688, 223751, 619, 3655, 159, 161])
_TEXTS = ("not measured", "SR (Sinus Rhythm)", "Arm, Right Lower", 'says "no pain"', "Normal")


def write_stay_tables(folder: Path, stays: RawStays) -> None:
    """ICUSTAYS, PATIENTS and ADMISSIONS."""
    times = pd.DataFrame({"intime": timestamps(stays.intime)})
    hours = pd.to_timedelta(np.round(stays.hours * 3600), unit="s")
    frame = pd.DataFrame(
        {
            "row": np.arange(len(stays)) + 1,
            "subject": stays.subject,
            "admission": stays.admission,
            "stay": stays.stay,
            "system": np.where(stays.metavision, "metavision", "carevue"),
            "intime": times["intime"],
            "outtime": times["intime"] + hours,
            "los": np.round(stays.hours / 24, 4),
            # The release shifts births of patients above 89 by 300 years.
            "dob": timestamps(stays.intime - _age_seconds(stays.age)),
            "gender": np.where(stays.male, "M", "F"),
            "died": stays.died.astype(int),
        }
    )
    with TableWriter(
        folder / "ICUSTAYS.csv.gz",
        "ROW_ID SUBJECT_ID HADM_ID ICUSTAY_ID DBSOURCE INTIME OUTTIME LOS".split(),
        ["system"],
    ) as table:
        columns = "row, subject, admission, stay, system, intime, outtime, los"
        table.append(f"SELECT {columns} FROM frame", frame=frame)
    with TableWriter(
        folder / "ADMISSIONS.csv.gz",
        "ROW_ID SUBJECT_ID HADM_ID ADMITTIME HOSPITAL_EXPIRE_FLAG".split(),
        [],
    ) as table:
        table.append("SELECT row, subject, admission, intime, died FROM frame", frame=frame)
    first = frame.drop_duplicates("subject")
    with TableWriter(
        folder / "PATIENTS.csv.gz", "ROW_ID SUBJECT_ID GENDER DOB".split(), ["gender"]
    ) as table:
        table.append("SELECT row, subject, gender, dob FROM frame", frame=first)


def charting(rng: np.random.Generator, stays: RawStays, rows: np.ndarray) -> tuple:
    """Truth (n, channel, step), NaN where unmeasured, and the readings with their faults."""
    series = chart.true_series(rng, stays.severity[rows], STEPS)
    vitals = rng.random(series.shape) < 0.9
    vitals[:, chart.TEMPERATURE] = rng.random(series[:, 0].shape) < 0.3
    vitals[:, chart.PRESSURES[1:]] = vitals[:, [chart.SYSTOLIC]]
    twice = vitals & (rng.random(series.shape) < 0.2)
    twice[:, chart.PRESSURES] = False
    early = rng.integers(0, STEP_SECONDS // 2 - 90, series.shape)
    early[:, chart.PRESSURES[1:]] = early[:, [chart.SYSTOLIC]]
    late = rng.integers(STEP_SECONDS // 2, STEP_SECONDS - 90, series.shape)
    # A second value in a step lies 2 away, so that the step's truth is the mean, 1 away.
    truth = np.where(vitals, series, np.nan)
    drift = np.where(truth > 40, -2.0, 2.0)
    readings = chart.concatenate(
        [_read(vitals, early, series, rows), _read(twice, late, series + drift, rows)]
    )
    truth = truth + np.where(twice, drift / 2, 0)
    charted = chart.add_faults(
        rng,
        readings,
        kinds=FAULT_KINDS,
        can_mark=stays.metavision[readings.stay],
        apart_seconds=1,
    )
    charted = chart.concatenate([charted, _outside(rng, rows)])
    return truth, chart.during_stay(charted, stays)


def append_chart(
    table: TableWriter,
    rng: np.random.Generator,
    stays: RawStays,
    rows: np.ndarray,
    readings: Readings,
    num_other: int,
    first_row: int,
) -> int:
    """Writes the readings of `rows` and `num_other` other rows, shuffled; returns how many."""
    frame = pd.concat([_vital_rows(stays, readings), _other_rows(rng, stays, rows, num_other)])
    frame["shuffle"] = rng.permutation(len(frame))
    texts, units = (", ".join(f"'{text}'" for text in names) for names in (_TEXTS, _UNITS))
    table.append(
        f"""SELECT shuffle + {first_row} AS row_id, subject, admission, stay, item, charttime,
                   charttime AS storetime, 17000, coalesce([{texts}][text], raw::VARCHAR) AS value,
                   raw, [{units}][unit] AS valueuom, warning, error, NULL, NULL
            FROM frame ORDER BY shuffle""",
        frame=frame,
    )
    return len(frame)


def slip_counts(stays: RawStays, readings: Readings) -> dict[str, int]:
    """The temperature slips that the clinical cohort meets, by what was charted under what."""
    met = readings.has("slip") & (readings.channel == chart.TEMPERATURE)
    met &= stays.eligible[readings.stay] & (readings.second < STEPS * STEP_SECONDS)
    celsius = _device(readings)[met] == 1
    return {
        "fahrenheit_under_celsius_item/temperature": int(celsius.sum()),
        "celsius_under_fahrenheit_item/temperature": int((~celsius).sum()),
    }


def _age_seconds(age: np.ndarray) -> np.ndarray:
    hidden = np.where(age > 89, age + 210, age)
    return np.round(hidden * 365.2425 * 86400).astype(np.int64)


def _read(mask: np.ndarray, within: np.ndarray, series: np.ndarray, rows: np.ndarray) -> Readings:
    stay, channel, step = np.nonzero(mask)
    second = step * STEP_SECONDS + within[mask]
    return chart.plain_readings(rows[stay], channel, second, series[mask])


def _outside(rng: np.random.Generator, rows: np.ndarray) -> Readings:
    """Heart rates from before admission to the unit and after the window, which must not count."""
    stay = np.repeat(rows, 4)
    second = np.tile([-7200, -60, STEPS * STEP_SECONDS, STEPS * STEP_SECONDS + 5000], len(rows))
    value = rng.integers(150, 180, len(stay)).astype(float)
    return chart.plain_readings(stay, np.zeros(len(stay), np.int64), second, value)


def _device(readings: Readings) -> np.ndarray:
    """0 or 1 per reading; the pressures of one time share it, a second item has the other one."""
    usual = (readings.stay + readings.second) % 5 == 0
    return (usual ^ (readings.has("second_item") & readings.extra)).astype(int)


def _vital_rows(stays: RawStays, readings: Readings) -> pd.DataFrame:
    stay, device = readings.stay, _device(readings)
    items = _ITEM_TABLE[readings.channel, stays.metavision[stay].astype(int), device]
    temperature, spo2 = (readings.channel == c for c in (chart.TEMPERATURE, chart.SPO2))
    slip, wild = readings.has("slip"), readings.has("wild")
    fahrenheit = temperature & ((device == 0) ^ slip) & ~wild
    raw = np.where(fahrenheit, np.round(readings.value * 1.8 + 32, 1), readings.value)
    raw = np.where(spo2 & slip, np.round(readings.value / 100, 4), raw)
    units = np.where(temperature & (device == 0), _FAHRENHEIT, readings.channel + 1)
    marked = np.where(readings.has("error"), 1.0, np.where(stays.metavision[stay], 0.0, np.nan))
    return pd.DataFrame(
        {
            "subject": stays.subject[stay],
            "admission": stays.admission[stay],
            "stay": np.where(readings.has("orphan"), np.nan, stays.stay[stay]),
            "item": items,
            "charttime": timestamps(stays.intime[stay] + readings.second),
            "text": readings.has("wordless").astype(int),  # index into _TEXTS from 1; 0: none
            "raw": raw,
            "unit": units,
            "warning": np.where(stays.metavision[stay], 0.0, np.nan),
            "error": marked,
        }
    ).astype({"stay": "Int64", "warning": "Int64", "error": "Int64"})


def _other_rows(
    rng: np.random.Generator, stays: RawStays, rows: np.ndarray, num_other: int
) -> pd.DataFrame:
    stay = rng.choice(rows, num_other)
    item = rng.choice(OTHER_ITEMS, num_other)
    number = np.isin(item, OTHER_ITEMS[3:8])
    second = (rng.random(num_other) * stays.hours[stay] * 3600).astype(np.int64)
    return pd.DataFrame(
        {
            "subject": stays.subject[stay],
            "admission": stays.admission[stay],
            "stay": stays.stay[stay],
            "item": item,
            "charttime": timestamps(stays.intime[stay] + second),
            "text": np.where(number, 0, rng.integers(2, len(_TEXTS) + 1, num_other)),
            "raw": np.where(number, rng.integers(10, 90, num_other), np.nan),
            "unit": 0,
            "warning": 0,
            "error": 0,
        }
    ).astype({"stay": "Int64", "warning": "Int64", "error": "Int64"})

"""A MEDS data set of 10 million events: linear in time, bounded in memory."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).parents[3]
SHARDS, EVENTS_PER_SUBJECT, CODES = 10, 100, 50
READ = """
import json, resource, sys, time
from configs.schema.data_sources import MedsConfig
from data_preprocess.sources.meds.reader import read_meds
from data_preprocess.sources.registry import Settings
start = time.process_time()
source = read_meds(MedsConfig(folder=sys.argv[1]), Settings(threads=1, memory_limit="500MB"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps([len(source.pool), time.process_time() - start, peak]))
"""


def make(folder, events):
    (folder / "data").mkdir(parents=True)
    subjects, each = events // EVENTS_PER_SUBJECT, events // SHARDS
    with duckdb.connect() as connection:
        for shard in range(SHARDS):
            connection.execute(
                f"""COPY (SELECT ({shard * each} + i) // {EVENTS_PER_SUBJECT} AS subject_id,
                    TIMESTAMP '2020-01-01' + to_minutes((i % 100 * 20)::INT) AS time,
                    'CODE//' || (hash(i) % {CODES}) AS code,
                    (hash(i * 7) % 1000 / 10)::FLOAT AS numeric_value FROM range({each}) t(i)
                ) TO '{folder}/data/{shard}.parquet'"""
            )
        connection.execute(
            f"""COPY (SELECT i AS subject_id, TIMESTAMP '2020-01-02' AS prediction_time,
                i % 3 = 0 AS boolean_value FROM range({subjects}) t(i)
            ) TO '{folder}/labels.parquet'"""
        )
    channels = "".join(f"  c{k}: {{unit: u, codes: [CODE//{k}]}}\n" for k in range(8))
    (folder / "channels.yaml").write_text(f"channels:\n{channels}")


@pytest.mark.slow
def test_ten_million_events_in_bounded_memory_and_linear_time(tmp_path):
    seconds = {}
    for events in (1_000_000, 10_000_000):
        make(tmp_path / str(events), events)
        done = subprocess.run(
            [sys.executable, "-c", READ, str(tmp_path / str(events))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        series, seconds[events], peak = json.loads(done.stdout.splitlines()[-1])
        print(f"{events:,} events: {series:,} series, {seconds[events]:.1f} CPU s, {peak:.2f} GB")
        assert series == events // EVENTS_PER_SUBJECT
        assert peak < 1.2
    assert seconds[10_000_000] < 15 * seconds[1_000_000]

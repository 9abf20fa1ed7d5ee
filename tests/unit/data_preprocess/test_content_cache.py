"""The content cache: a result is found again for the same key and code, and for no other."""

import importlib
import logging

import numpy as np
import pytest

from data_preprocess.storage import content_cache
from data_preprocess.storage.content_cache import (
    ContentCache,
    Entry,
    array_fingerprint,
    source_version,
)

KEY = {"w": 0.1 + 0.2, "rows": [0, 4], "loss": None}
ENTRY = Entry({"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"calls": 3, "shift": 1e-9})


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of code in a folder of its own: (its name, its file)."""
    folder = tmp_path / "code" / "some_program"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "inner.py").write_text("STEP = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    importlib.invalidate_caches()
    source_version.cache_clear()
    yield "some_program", folder / "inner.py"
    source_version.cache_clear()


def fail() -> Entry:
    pytest.fail("computed again")


@pytest.fixture
def cache(tmp_path, package):
    made = ContentCache(tmp_path / "kept", [package[0]])
    made.write(KEY, ENTRY)
    return made


def test_a_result_is_found_again_and_is_what_was_written(cache):
    found = cache.fetch(dict(reversed(KEY.items())), fail)  # the order of keys decides nothing
    np.testing.assert_array_equal(found.arrays["x"], ENTRY.arrays["x"])
    assert found.arrays["x"].dtype == np.float32 and found.facts == ENTRY.facts
    assert [path.suffix for path in cache.folder.iterdir()] == [".npz"]


@pytest.mark.parametrize(
    "change", [{"w": 0.3}, {"rows": [0, 5]}, {"loss": "rank"}, {"more": 1}], ids=str
)
def test_another_setting_is_another_result(cache, change):
    assert cache.read(KEY | change) is None
    other = Entry(facts={"calls": 4})
    assert cache.fetch(KEY | change, lambda: other).facts == other.facts
    assert cache.fetch(KEY, fail).facts == ENTRY.facts  # and the first one stays


def test_another_array_has_another_fingerprint():
    x = np.arange(6.0)
    prints = {
        array_fingerprint(*arrays)
        for arrays in (
            [x],
            [x + 1e-12],
            [x.reshape(2, 3)],
            [x.astype(np.float32)],
            [x[:3], x[3:]],
            [x[::-1]],
        )
    }
    assert len(prints) == 6
    assert array_fingerprint(x[::2]) == array_fingerprint(x[::2].copy())


def test_other_code_computes_again(cache, package):
    package[1].write_text("STEP = 2\n")
    assert cache.read(KEY) is not None  # one process knows its code once
    source_version.cache_clear()
    assert cache.read(KEY) is None
    package[1].write_text("STEP = 1\n")
    source_version.cache_clear()
    assert cache.read(KEY) is not None
    package[1].rename(package[1].with_name("other.py"))
    source_version.cache_clear()
    assert cache.read(KEY) is None


def test_other_libraries_compute_again(cache, monkeypatch):
    assert cache.read(KEY) is not None
    monkeypatch.setattr(content_cache, "library_versions", lambda: ["1.0"])
    assert cache.read(KEY) is None


def test_code_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ModuleNotFoundError, match="no_such_program"):
        ContentCache(tmp_path, ["no_such_program"]).read(KEY)


def test_a_module_alone_may_be_named(package):
    assert source_version(("some_program.inner",)) != source_version(("some_program",))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-80]),
        lambda path: path.write_bytes(b""),
        lambda path: np.savez(path, x=ENTRY.arrays["x"]),
        lambda path: np.savez(path, **{"content.json": np.array("[]")}),
    ],
    ids=["cut off", "empty", "without its key", "of another kind"],
)
def test_a_damaged_file_is_said_and_computed_again(cache, damage, caplog):
    caplog.set_level(logging.WARNING)
    damage(cache.path(KEY))
    assert cache.fetch(KEY, lambda: ENTRY).facts == ENTRY.facts
    assert "is damaged" in caplog.text
    caplog.clear()
    assert cache.fetch(KEY, fail).facts == ENTRY.facts and not caplog.text


def test_a_file_under_another_name_is_not_taken_for_it(cache, caplog):
    cache.path(KEY).rename(cache.path(KEY | {"w": 0.5}))
    assert cache.read(KEY | {"w": 0.5}) is None
    assert "other settings" in caplog.text


def test_a_result_that_could_not_be_computed_leaves_nothing(cache):
    def broken() -> Entry:
        raise FloatingPointError("no number")

    with pytest.raises(FloatingPointError):
        cache.fetch(KEY | {"w": 2.0}, broken)
    assert len(list(cache.folder.iterdir())) == 1

"""Files from strangers: nothing they name is run, and nothing they claim is allocated unproven."""

import json
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import UNREADABLE, ConfigError, DataError
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.sources.hospital.tables import find_table
from data_preprocess.storage.array_files import read_arrays
from data_preprocess.storage.dataset_files import load_dataset, save_dataset
from data_preprocess.storage.safe_npy import read_npy, read_npz
from data_preprocess.storage.safe_pickle import load_array_pickle

pytestmark = pytest.mark.usefixtures("little_memory")


def npy_header(shape, descr="<f4"):
    text = str({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


# Of 12 bytes that follow: far more claimed, a little more, less.
ABSURD = [(1 << 40,), (1 << 20, 1 << 20, 1 << 20), (2, 3), (-1, 3), (0, 1 << 62, 5), (2,)]


@pytest.mark.parametrize("shape", ABSURD)
def test_a_header_must_fit_the_bytes_behind_it(tmp_path, shape):
    raw = npy_header(shape) + b"\0" * 12
    (tmp_path / "x.npy").write_bytes(raw)
    with pytest.raises(ValueError, match="its header claims"):  # before memory is asked for
        read_npy(tmp_path / "x.npy")
    np.save(tmp_path / "x_labels.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"x\.npy: not a plain"):
        read_arrays(tmp_path / "x.npy", key="data.files.train")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("values.npy", raw)
    with pytest.raises(DataError, match=r"x\.npz: not a dataset file"):
        load_dataset(tmp_path / "x.npz")


def test_a_header_of_python_2_is_read_in_silence(tmp_path):
    raw = npy_header((3,)).replace(b"(3,)", b"(3L,)")
    raw = raw[:8] + struct.pack("<H", len(raw) - 10) + raw[10:]
    values = np.arange(3, dtype="<f4")
    (tmp_path / "x.npy").write_bytes(raw + values.tobytes())
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), values)


def test_old_names_and_odd_texts_are_met_in_silence(tmp_path):
    raw = npy_header((3,)).replace(b"<f4", b"|a4")
    (tmp_path / "x.npy").write_bytes(raw + b"abcd" * 3)
    assert read_npy(tmp_path / "x.npy").tolist() == [b"abcd"] * 3
    (tmp_path / "x.pkl").write_bytes(b"(S'\\?'\nl.")
    assert load_array_pickle(tmp_path / "x.pkl") == ["\\?"]  # no array: refused by who asked


def test_objects_in_arrays_are_refused(tmp_path):
    for name, save in (("x.npy", np.save), ("x.npz", np.savez)):
        save(tmp_path / name, np.array([{}], object))
    for read, name in ((read_npy, "x.npy"), (read_npz, "x.npz")):
        with pytest.raises(UNREADABLE, match="Python objects"):
            read(tmp_path / name)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        size = 1 << 28
        archive.writestr("values.npy", npy_header((size // 4,)) + b"\0" * size)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="claim to unpack to"):
        load_dataset(path)
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.npy", npy_header((0,)))
    with pytest.raises(DataError, match="100 arrays"):
        load_dataset(tmp_path / "many.npz")


def test_what_numpy_writes_is_read_as_numpy_reads_it(tmp_path, make_dataset):
    arrays = {
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "none": np.zeros((5, 0), np.float32),
        "text": np.array("words"),
        "big_endian": np.arange(4, dtype=">i8"),
        "flags": np.array([True, False]),
    }
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    found = read_npz(tmp_path / "x.npz")
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    save_dataset(tmp_path / "d.npz", make_dataset(2000))
    assert len(load_dataset(tmp_path / "d.npz")) == 2000


REBUILD = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"


def _state(shape, raw, dtype=b"cnumpy\ndtype\n(Vf4\nI00\nI01\ntR"):
    rebuild = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
    return (
        rebuild + b"(I1\n" + shape + dtype + b"I00\nB" + struct.pack("<I", len(raw)) + raw + b"tb."
    )


FIELDS = (
    b"cnumpy\ndtype\n(VV8\nI00\nI01\ntR(I3\nV|\nN(Va\nt(dVa\n(cnumpy\ndtype\n(Vf8\nI00\nI01\ntR"
    b"I1000000000\ntsI8\nI1\nI0\ntb"
)
BOMBS = {
    "shape beyond the bytes": _state(b"(I1000000\nI1000000\nt", b"\0" * 8),
    "negative shape": _state(b"(I-1\nt", b"\0" * 8),
    "array of objects": _state(b"(I1\nt", b"\0" * 8, b"cnumpy\ndtype\n(VO8\nI00\nI01\ntR"),
    "field outside the item": _state(b"(I1\nt", b"\0" * 8, FIELDS),
    "ndarray called": b"cnumpy\nndarray\n((I1000000000\nttR.",
    "memo slot 4 billion": b"Nr\xff\xff\xff\xff.",
    "memo slot by text": b"Np99999999999\n.",
    "bytes that are not there": b"\x80\x04\x8e\xff\xff\xff\xff\xff\0\0\0.",
    "array without content": REBUILD + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_pickles_that_would_overflow_are_refused(tmp_path, name):
    (tmp_path / "x.pkl").write_bytes(BOMBS[name])
    with pytest.raises(DataError, match="refused as a pickle"):
        load_array_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i8", "u1", "?", "<U3"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_pickled_arrays_come_back_as_they_were(tmp_path, dtype, protocol):
    array = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps((array, array[0, 0]), protocol))
    if array.dtype.kind == "U":
        with pytest.raises(DataError):
            load_array_pickle(tmp_path / "x.pkl")
        return
    found, first = load_array_pickle(tmp_path / "x.pkl")
    np.testing.assert_array_equal(found, array)
    assert first == array[0, 0]


def test_labels_that_name_a_trillion_classes_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 4)))
    np.save(tmp_path / "x_labels.npy", np.array([0, 10**12]))
    with pytest.raises(DataError, match="at most 1,000"):
        read_arrays(tmp_path / "x.npy", key="data.files.train")


def test_yaml_runs_nothing_and_does_not_multiply(tmp_path):
    made = tmp_path / "made"
    path = tmp_path / "x.yaml"
    path.write_text(f"experiment: !!python/object/apply:os.mkdir ['{made}']\n")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_config([str(path)])
    assert not made.exists()
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="anchors"):
        load_config([str(path)])
    path.write_text("experiment: x\n" + "# " + "x" * (2 << 20))
    with pytest.raises(ConfigError, match="bytes"):
        load_config([str(path)])
    for deep in ("[", "- ", "{a: ", "? "):  # libyaml overflows the C stack on each
        path.write_text(deep * 30_000)
        with pytest.raises(ConfigError, match="levels deep"):
            load_config([str(path)])


def test_a_table_without_a_line_break_is_not_read_whole(tmp_path):
    code = (
        "import gzip,sys; h=gzip.open(sys.argv[1],'wb'); [h.write(b'a'*(1<<20)) for _ in range(9)]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.csv.gz")], check=True)
    with pytest.raises(DataError, match="no line break"):
        find_table(tmp_path, "x", ["a"])


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", "[]", "\xff", "1e999", "null", '{"format": 1}']
)
def test_records_of_other_content_are_refused(tmp_path, text):
    path = tmp_path / "normaliser.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="not a normaliser file"):
        Normaliser.load(path)
    json.dumps(text)

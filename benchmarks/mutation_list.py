"""Mutations of what keeps files whole and strangers out, and which tests guard each place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`old`, which stands once in `file`, becomes `new`; `tests` as pytest takes them."""

    name: str
    file: str
    old: str
    new: str
    tests: str


def _pairings(file: str, keys: dict[str, str], tests: str, what: str) -> list[Mutation]:
    return [
        Mutation(f"{what}: {key} not compared", file, line, "", tests) for key, line in keys.items()
    ]


ATOMIC = [
    Mutation(name, "configs/atomic.py", old, new, "tests/test_atomic.py")
    for name, old, new in (
        (
            "atomic write: copy instead of rename",
            "        temporary.replace(final)\n",
            "        final.write_bytes(temporary.read_bytes())\n",
        ),
        ("atomic write: no fsync of the file", "        flush(temporary)\n", ""),
        ("atomic write: no fsync of the folder", "        flush(final.parent)\n", ""),
        (
            "atomic write: half file under the final name",
            "    temporary = temporary_sibling(final)\n",
            "    temporary = final\n",
        ),
        (
            "atomic write: stale files stay",
            "        stale.unlink(missing_ok=True)\n",
            "        pass\n",
        ),
    )
]
UNTRUSTED = [
    Mutation(
        "checkpoints unpickled (weights_only off)",
        "classifier/plain_file.py",
        "weights_only=True",
        "weights_only=False",
        "tests/test_classifier_checkpoint.py tests/test_untrusted.py",
    ),
    Mutation(
        "restricted unpickler looks names up",
        "data_preprocess/array_pickle.py",
        "            raise pickle.UnpicklingError(\n"
        '                f"it refers to {module_name}.{global_name}, which is no numpy array"\n'
        "            ) from None\n",
        "            return super().find_class(module_name, global_name)\n",
        "tests/test_files.py tests/test_untrusted.py",
    ),
    Mutation(
        "npz with allow_pickle=True",
        "data_preprocess/array_files.py",
        '    with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:\n',
        "    return dict(np.load(path, allow_pickle=True))\n"
        '    with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:\n',
        "tests/test_untrusted.py",
    ),
    Mutation(
        "npy headers believed",
        "data_preprocess/array_files.py",
        "or wanted != size - start.tell()",
        "",
        "tests/test_untrusted.py",
    ),
    Mutation(
        "zip bombs unpacked",
        "data_preprocess/array_files.py",
        "len(members) > MAX_MEMBERS or total > allowed",
        "False",
        "tests/test_untrusted.py",
    ),
    Mutation(
        "checkpoint names what is imported",
        "classifier/checkpoint.py",
        "        if facts.model_path != allow:\n",
        "        if False:\n",
        "tests/test_untrusted.py",
    ),
    Mutation(
        "YAML anchors allowed",
        "configs/__init__.py",
        "if isinstance(token, yaml.AliasToken):",
        "if False:",
        "tests/test_untrusted.py tests/test_configs.py",
    ),
    Mutation(
        "YAML nested without bound",
        "configs/__init__.py",
        "if depth > MAX_YAML_DEPTH:",
        "if False:",
        "tests/test_untrusted.py tests/test_configs.py",
    ),
]
CLASSIFIER_KEYS = {
    "channels": '        "channels": (facts.feature_names, splits.train.feature_names),\n',
    "classes": '        "classes": (facts.label_names, splits.train.label_names),\n',
    "length": '        "grid points": (facts.length, splits.train.length),\n',
    "normaliser": '        "normaliser": (facts.normaliser.fingerprint(), '
    "splits.normaliser.fingerprint()),\n",
    "splits": '        "splits": (facts.data_fingerprint, splits.fingerprint),\n',
}
DIFFUSION_KEYS = {
    "channels": '        "feature_names": splits.train.feature_names,\n',
    "classes": '        "label_names": splits.train.label_names,\n',
    "length": '        "length": splits.train.length,\n',
    "normaliser": '        "normaliser": splits.normaliser.fingerprint(),\n',
    "splits": '        "data_fingerprint": splits.fingerprint,\n',
}
PAIRINGS = [
    *_pairings("classifier/checkpoint.py", CLASSIFIER_KEYS, "tests/test_pairings.py", "classifier"),
    *_pairings("tardiff/inputs.py", DIFFUSION_KEYS, "tests/test_pairings.py", "diffusion model"),
    Mutation(
        "G of another classifier taken",
        "tardiff/guide.py",
        'if content.get("key") != key:',
        "if False:",
        "tests/test_pairings.py",
    ),
    Mutation(
        "set of another experiment judged",
        "scripts/synthetic_sets.py",
        "if made_from not in (None, splits.fingerprint):",
        "if False:",
        "tests/test_pairings.py",
    ),
    Mutation(
        "set of other channels judged",
        "scripts/synthetic_sets.py",
        '        require_same_task(splits.train, synthetic, f"train split against {path}")\n',
        "        pass\n",
        "tests/test_pairings.py",
    ),
    Mutation(
        "patients in two splits",
        "data_preprocess/splits.py",
        "        _require_disjoint(self.items())\n",
        "",
        "tests/test_pairings.py",
    ),
    Mutation(
        "guidance rows in test",
        "data_preprocess/splits.py",
        "            _require_other_rows(self.val_guide, held_out)\n",
        "            pass\n",
        "tests/test_pairings.py",
    ),
    Mutation(
        "splits of other channels",
        "data_preprocess/splits.py",
        '            require_same_task(self.train, split, f"train against {name}")\n',
        "",
        "tests/test_pairings.py",
    ),
    Mutation(
        "normaliser of other channels",
        "data_preprocess/splits.py",
        '        self.normaliser.require_channels(self.train, "train split")\n',
        "",
        "tests/test_pairings.py",
    ),
]
MUTATIONS = [*ATOMIC, *UNTRUSTED, *PAIRINGS]

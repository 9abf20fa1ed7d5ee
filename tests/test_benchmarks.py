"""The benchmarks start: what they import is there."""

import importlib
import pkgutil

import pytest

import benchmarks

MODULES = [
    module.name for module in pkgutil.walk_packages(benchmarks.__path__, prefix="benchmarks.")
]


@pytest.mark.parametrize("name", MODULES)
def test_imports(name):
    importlib.import_module(name)

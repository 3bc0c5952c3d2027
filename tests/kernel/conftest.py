"""A tiny kernel to test reclaim and compaction with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


def load_beside(name: str) -> Any:
    """A module beside the tests: nothing of them is in ``sys.path``."""
    spec = importlib.util.spec_from_file_location(f"tests_kernel_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny() -> Any:
    """Makes tiny kernels: ``tiny(mib=32, cpus=1, seed=1, swap_pages=0, defrag_mode=0, threads=False)``."""
    return load_beside("tiny_kernel").TinyKernel

"""The compiled build: that what runs under its name is compiled, and that the checkout is not."""

from __future__ import annotations

import importlib
import os
import pkgutil

import pytest

import memviz.kernel


@pytest.mark.digest
def test_the_kernel_under_test_is_the_build_that_was_asked_for() -> None:
    """Without this the digests could be compared with themselves."""
    expected = ".so" if os.environ.get("MEMVIZ_EXPECT") == "compiled" else ".py"
    names = [module.name for module in pkgutil.iter_modules(memviz.kernel.__path__, "memviz.kernel.")]
    files = {name: str(importlib.import_module(name).__file__) for name in names}
    assert len(files) > 2
    assert {name: file for name, file in files.items() if not file.endswith(expected)} == {}

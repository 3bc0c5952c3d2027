"""Builds memviz with its kernel compiled by mypyc, beside the checkout.

    packaging/compile.py [--optimise 0..3]

Makes build/compiled/memviz: the package as a wheel would hold it, with an extension module beside each module of
memviz/kernel. Put build/compiled in front with PYTHONPATH and the same commands and tests run on it; the checkout
stays interpreted. Unchanged kernel sources are not compiled again.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "compiled"


def kernel_modules(package: Path) -> list[str]:
    """The modules to compile, as paths relative to the folder that holds the package."""
    return sorted(
        str(path.relative_to(package.parent))
        for path in (package / "kernel").rglob("*.py")
        if path.name != "__init__.py"
    )


def fingerprint(modules: list[str], optimise: int) -> str:
    """Changes when anything that the extension modules are made from does."""
    import mypy.version

    digest = hashlib.sha256(f"{sys.version} {mypy.version.__version__} -O{optimise}".encode())
    for name in [Path(__file__), *(ROOT / module for module in modules)]:
        digest.update(str(name).encode() + b"\0" + name.read_bytes())
    return digest.hexdigest()


def copy_package() -> None:
    """Copies sources and resources over the build, keeping the extension modules that are there."""
    package = BUILD / "memviz"
    for old in [*package.rglob("*.py"), package / "resources"]:
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "memviz", package, dirs_exist_ok=True, ignore=ignore)
    shutil.copytree(ROOT / "resources", package / "resources", ignore=ignore)
    for results in (ROOT / "docs" / "experiments").glob("*.json.xz"):
        shutil.copy(results, package / "resources" / "experiments")


def build_extensions(modules: list[str], optimise: int) -> None:
    """Runs mypyc and the C compiler in the build folder, so that the extensions land beside their sources."""
    from mypyc.build import mypycify
    from setuptools import setup

    for old in BUILD.rglob("*.so"):
        old.unlink()
    with contextlib.chdir(BUILD):
        flags = [f"--config-file={ROOT / 'pyproject.toml'}"]
        extensions = mypycify([*flags, *modules], opt_level=str(optimise), multi_file=True)
        setup(
            name="memviz-kernel",
            ext_modules=extensions,
            script_args=["--quiet", "build_ext", "--inplace", "--parallel", str(min(2, os.cpu_count() or 1))],
        )


def main() -> int:
    """Compiles what changed; 0 when the build is there, 1 with a sentence when it can't be."""
    parser = argparse.ArgumentParser(description="Build memviz with a compiled kernel into build/compiled.")
    parser.add_argument("--optimise", type=int, choices=range(4), default=1, help="the C compiler's -O (default 1)")
    optimise = parser.parse_args().optimise
    if not shutil.which("gcc"):
        print("compile: no gcc found, so no compiled build; install it with: sudo apt-get install gcc", file=sys.stderr)
        return 1
    modules = kernel_modules(ROOT / "memviz")
    stamp = BUILD / "stamp"
    want = fingerprint(modules, optimise)
    fresh = stamp.exists() and stamp.read_text() == want
    copy_package()
    if not fresh:
        stamp.unlink(missing_ok=True)
        print(f"compile: {len(modules)} kernel modules with mypyc", flush=True)
        build_extensions(modules, optimise)
        stamp.write_text(want)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Options that several commands share, and how the name of a scenario becomes a machine."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from memviz import scenario as scenarios
from memviz.kernel.machine import Machine, MachineConfig

REAL_TRACE: Final = "real-trace"
"""No scenario file: the replay of a real kernel's page traffic."""
REAL_TRACE_SUMMARY: Final = (
    "A real Linux 6.18's page allocations and frees, replayed through the simulated allocator under several policies."
    " Headless: memviz run real-trace."
)

DEFAULT_SCENARIO: Final = "aged-file-server"


class Failed(click.ClickException):
    """The command could not do what was asked: one line, exit code 1."""

    exit_code = 1


class Number(click.FloatRange):
    """A number in a range: click lets ``nan`` pass, which is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not in the range {self._describe_range()}", param, ctx)
        return found


class Picture(click.Path):
    """Where a picture of the window goes: the ending says as what, and there is none that stands for something else."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        from memviz.gui.render.picture import refusal  # numpy is loaded for whoever wants a picture, not for all

        found = super().convert(value, param, ctx)
        if why := refusal(str(value)):
            raise click.UsageError(why, ctx)
        return found


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

seed: Final[Decorator] = click.option(
    "--seed", type=click.IntRange(0, 2**53), help="Seed: the same seed gives the same run. The scenario names one."
)
memory: Final[Decorator] = click.option(
    "--memory-mib",
    type=click.IntRange(1),
    help="Memory of the simulated machine; the scenario says how much otherwise.",
)

policies: Final[Decorator] = click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME=VALUE",
    help="Turn a switch of the machine from the start on, as page_cache_index=radix_tree. Can be given several times.",
)


def progress(what: str = "operations") -> Callable[[int, int], None] | None:
    """Shows on a terminal how far it is, and how many of ``what`` are done; None where nobody sits."""
    if not sys.stderr.isatty():
        return None
    shown = [-1]

    def show(done: int, all_of_them: int) -> None:
        percent = done * 100 // max(1, all_of_them)
        if percent != shown[0]:
            shown[0] = percent
            click.echo(f"\r{percent:3} %  {done:,} {what}" if percent < 100 else "\r\033[K", nl=False, err=True)

    return show


def tell(sentence: str) -> None:
    """Say something beside the output."""
    click.echo(sentence, err=True)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write: what is there becomes ``path`` at the end, and nothing is left of it when there was no end."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror or error}; choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def load(name: str) -> scenarios.Scenario:
    """The scenario called ``name``. Raises ScenarioError, one sentence, with what is nearest."""
    near = difflib.get_close_matches(name, [REAL_TRACE], n=1)
    if near and name not in scenarios.names() and not name.endswith(".toml"):
        raise scenarios.ScenarioError(f"no scenario is called {name!r}: did you mean {REAL_TRACE!r}?")
    return scenarios.load(name)


def switched(scenario: scenarios.Scenario, policies: tuple[str, ...]) -> scenarios.Scenario:
    """``scenario`` with policies ``NAME=VALUE`` from the start on. Raises UsageError for what is no such pair."""
    turned = dict(scenario.policy)
    for one in policies:
        name, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"--policy {one} names no value: give NAME=VALUE, as page_cache_index=radix_tree")
        turned[name.strip()] = value.strip()
    return msgspec.structs.replace(scenario, policy=turned)


def check(name: str, seed: int | None, memory_mib: int | None) -> None:
    """See that ``build`` could do it, without the work. Raises as it does."""
    spec = load(name).machine_spec
    try:
        MachineConfig(memory_mib if memory_mib is not None else spec.memory_mib, spec.cpus, seed or spec.seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def build(
    name: str, seed: int | None, memory_mib: int | None, policies: tuple[str, ...] = ()
) -> tuple[scenarios.Scenario, Machine]:
    """The scenario, with policies turned, and its machine. Raises ScenarioError or click.UsageError, one sentence."""
    scenario = switched(load(name), policies)
    try:
        return scenario, scenario.machine(seed=seed, memory_mib=memory_mib)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

"""Plots of an experiment, as SVG and PNG, with matplotlib where that is installed (the extra ``plots``).

The same results give the same SVG to the byte: no dates, no random names.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from pathlib import Path
from typing import Any

from memviz.experiment import figures, over_time
from memviz.experiment.estimate import Estimate
from memviz.experiment.figures import Group
from memviz.experiment.table import Results

_DPI = 110


def available() -> bool:
    """Whether there is a matplotlib here."""
    return importlib.util.find_spec("matplotlib") is not None


def names(results: Results) -> list[str]:
    """Names of the SVG files that ``draw`` makes, in the report's order."""
    kinds = ["success"]
    if results.spec.protocol.steady:
        kinds.append("price")
    if "start" in results.spec.begin or _keeps_time(results):
        kinds.append("time")
    return [f"{results.name}-{kind}.svg" for kind in kinds]


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw all plots, each as SVG and PNG, and say which files that made."""
    matplotlib: Any = importlib.import_module("matplotlib")
    backend: Any = importlib.import_module("matplotlib.figure")
    style = {"svg.hashsalt": "memviz", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
    made: list[Path] = []
    makers = {"success": _success, "price": _price, "time": _time}
    with matplotlib.rc_context({**style, "axes.spines.right": False}):
        for name in names(results):
            figure = backend.Figure(layout="constrained")
            makers[name.removesuffix(".svg").rsplit("-", 1)[1]](results, figure)
            svg = folder / name
            figure.savefig(svg, metadata={"Date": None})
            svg.write_text(svg.read_text(encoding="utf-8").replace("\r\n", "\n"), encoding="utf-8")
            figure.savefig(svg.with_suffix(".png"), dpi=_DPI, metadata={"Software": None})
            made += [svg, svg.with_suffix(".png")]
    return made


def _where(group: Group) -> str:
    when = "the same aged machine" if group.begin == "aged" else "in force from the start"
    return f"{group.machine}; {when}"


def _keeps_time(results: Results) -> bool:
    group = figures.groups(results)[0]
    order = over_time.chief(results)
    asked = order in results.spec.protocol.steady
    return asked and bool(over_time.steady(results, group, results.spec.baseline, order))


def _success(results: Results, figure: Any) -> None:
    """Success by order, a line a policy, with intervals: in a burst, and beside it steadily; a row a group."""
    groups = figures.groups(results)
    protocol = results.spec.protocol
    phases = [phase for phase, orders in (("burst", protocol.burst), ("steady", protocol.steady)) if orders]
    figure.set_size_inches(5.2 * len(phases) + 2, 4.4 * len(groups) + 0.2)
    axes = figure.subplots(len(groups), len(phases), sharey=True, squeeze=False)
    words = {"burst": "in a burst, many at once", "steady": "now and then, while the work goes on"}
    for group, row in zip(groups, axes, strict=True):
        for phase, axis in zip(phases, row, strict=True):
            orders = sorted(getattr(protocol, phase))
            _lines(results, group, phase, orders, axis)
            axis.set(title=f"{words[phase]}\n{_where(group)}", xlabel="order", xticks=orders, ylim=(-3, 103))
        row[0].set_ylabel("requests that succeed, %")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def _lines(results: Results, group: Group, phase: str, orders: list[int], axis: Any) -> None:
    policies = results.spec.policy
    for number, policy in enumerate(policies):
        found = [figures.estimated(results, group, policy.name, figures.success(phase, order)) for order in orders]
        shift = _beside(number, len(policies)) * 0.5
        _curve(axis, number, policy.name, [order + shift for order in orders], found)


def _beside(number: int, count: int) -> float:
    """How far the intervals of one of ``count`` policies are moved, from -0.5 to 0.5: beside, not upon one another."""
    return number / max(1, count - 1) - 0.5


def _curve(axis: Any, number: int, name: str, at: list[float], found: list[Estimate]) -> None:
    axis.errorbar(
        at,
        [one.mean for one in found],
        yerr=_errors(found, 100),
        label=name,
        color=figures.colour(number),
        marker="osD^v<>"[number % 7],
        markersize=3.5,
        linewidth=1,
        elinewidth=0.8,
    )


def _price(results: Results, figure: Any) -> None:
    """Steady success at the largest order, by policy, beside what it costs."""
    groups = figures.groups(results)
    order = over_time.chief(results)
    columns = [(f"order {order}, steady:\nrequests that succeed, %", figures.success("steady", order))]
    chosen = ("objects moved", "pages read again", "rcu_barrier, ms", "virtual time, s")
    columns += [(one.title, one.value) for one in figures.PRICE if one.title in chosen]
    figure.set_size_inches(2.3 * len(columns) + 2, (0.28 * len(results.spec.policy) + 1.2) * len(groups) + 0.6)
    axes = figure.subplots(len(groups), len(columns), sharey=True, squeeze=False)
    labels = [one.name for one in results.spec.policy]
    axes[0][0].invert_yaxis()  # all share it
    for row, group in enumerate(groups):
        for column, (title, value) in enumerate(columns):
            axis = axes[row][column]
            found = [figures.estimated(results, group, name, value) for name in labels]
            axis.barh(
                range(len(labels)),
                [one.mean for one in found],
                xerr=_errors(found, 100 if column == 0 else math.inf),
                color=[figures.colour(number) for number in range(len(labels))],
                error_kw={"elinewidth": 0.8},
            )
            axis.set_yticks(range(len(labels)), labels)
            axis.set_xlim(0, 100 if column == 0 else None)
            if row == 0:
                axis.set_title(title, fontsize=9)
        axes[row][-1].annotate(
            _where(group).replace("; ", "\n"),
            (1.04, 0.5),
            xycoords="axes fraction",
            rotation=270,
            va="center",
            ha="left",
            fontsize=8,
        )


def _time(results: Results, figure: Any) -> None:
    """Over time: what a burst gets and how pageblocks mix while machines age under a policy; and what steady requests
    get after a policy was switched on."""
    groups = [group for group in figures.groups(results) if group.begin == "start" or _keeps_time(results)]
    columns = 2 if any(group.begin == "start" for group in groups) else 1
    figure.set_size_inches(5 * columns + 2.5, 3.8 * len(groups))
    axes = figure.subplots(len(groups), columns, squeeze=False)
    for group, row in zip(groups, axes, strict=True):
        if group.begin == "aged":
            _time_after(results, group, row[0])
            for axis in row[1:]:
                axis.set_visible(False)
            continue
        for number, policy in enumerate(results.spec.policy):
            ops, *curves = over_time.ageing(results, group, policy.name)
            for axis, means in zip(row, curves, strict=True):
                axis.plot(
                    [op / 1000 for op in ops], means, label=policy.name, color=figures.colour(number), linewidth=1.2
                )
        row[0].set(ylabel=f"order {results.spec.protocol.watch} in a burst, %", title=_where(group))
        row[1].set(ylabel="mixed pageblocks, %")
        for axis in row:
            axis.set_xlabel("thousand operations of the workload")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def _time_after(results: Results, group: Group, axis: Any) -> None:
    order = over_time.chief(results)
    marks = over_time.marks(results)
    middles = [mark - marks[0] / 2 for mark in marks]
    policies = results.spec.policy
    for number, policy in enumerate(policies):
        found = over_time.steady(results, group, policy.name, order)
        shift = _beside(number, len(policies)) * marks[0] * 0.5
        _curve(axis, number, policy.name, [middle + shift for middle in middles], found)
    axis.set(
        title=f"order {order}, now and then, after the policy was switched on\n{_where(group)}",
        xlabel="operations of the workload since then",
        ylabel="requests that succeed, %",
        ylim=(-3, 103),
    )


def _errors(found: list[Estimate], most: float = math.inf) -> list[list[float]]:
    """Intervals for matplotlib, below and above; none goes below nought or beyond ``most``, where no figure can be."""
    halves = [0.0 if math.isinf(one.half) else one.half for one in found]
    low = [max(0.0, min(half, one.mean)) for half, one in zip(halves, found, strict=True)]
    high = [max(0.0, min(half, most - one.mean)) for half, one in zip(halves, found, strict=True)]
    return [low, high]

"""Plots of an experiment, as SVG and PNG, with matplotlib where that is installed (the extra ``plots``).

The same results give the same SVG to the byte: no dates, no random names.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from memviz.experiment import figures
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
    if "start" in results.spec.begin:
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


def _titles(group: Group) -> str:
    when = "same aged machine" if group.begin == "aged" else "in force from the start"
    return f"{group.machine}\n{when}"


def _success(results: Results, figure: Any) -> None:
    """Success by order in a burst, a line a policy, with intervals; a column a group."""
    groups = figures.groups(results)
    figure.set_size_inches(5.2 * len(groups) + 2, 4.6)
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    orders = sorted(results.spec.protocol.burst)
    policies = results.spec.policy
    for at, (group, axis) in enumerate(zip(groups, axes, strict=True)):
        for number, policy in enumerate(policies):
            found = [figures.estimated(results, group, policy.name, figures.success("burst", o)) for o in orders]
            shift = (number / max(1, len(policies) - 1) - 0.5) * 0.5  # intervals beside, not upon one another
            axis.errorbar(
                [order + shift for order in orders],
                [one.mean for one in found],
                yerr=_errors(found),
                label=policy.name,
                color=_colour(number),
                marker="osD^v<>"[number % 7],
                markersize=3.5,
                linewidth=1,
                elinewidth=0.8,
            )
        axis.set(title=_titles(group), xlabel="order", xticks=orders, ylim=(-3, 103))
        if at == 0:
            axis.set_ylabel("burst requests that succeed, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def _price(results: Results, figure: Any) -> None:
    """Steady success at the largest order, by policy, beside what it costs."""
    groups = figures.groups(results)
    order = max(results.spec.protocol.steady)
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
                xerr=_errors(found),
                color=[_colour(number) for number in range(len(labels))],
                error_kw={"elinewidth": 0.8},
            )
            axis.set_yticks(range(len(labels)), labels)
            axis.set_xlim(0, 100 if column == 0 else None)
            if row == 0:
                axis.set_title(title, fontsize=9)
        axes[row][-1].annotate(
            _titles(group), (1.04, 0.5), xycoords="axes fraction", rotation=270, va="center", ha="left", fontsize=8
        )


def _time(results: Results, figure: Any) -> None:
    """What a burst gets, and how pageblocks mix, while machines age under each policy."""
    groups = [group for group in figures.groups(results) if group.begin == "start"]
    figure.set_size_inches(10, 3.6 * len(groups))
    axes = figure.subplots(len(groups), 2, squeeze=False)
    for group, (left, right) in zip(groups, axes, strict=True):
        for number, policy in enumerate(results.spec.policy):
            runs = figures.runs_of(results, group, policy.name)
            ops = [sample.ops / 1000 for sample in runs[0].outcome.samples]
            for axis, value in (
                (left, lambda sample: 100 * sample.burst.got / sample.burst.wanted),
                (right, figures.mixed_share),
            ):
                means = [sum(value(run.outcome.samples[at]) for run in runs) / len(runs) for at in range(len(ops))]
                axis.plot(ops, means, label=policy.name, color=_colour(number), linewidth=1.2)
        burst = f"order {results.spec.protocol.watch} in a burst, %"
        left.set(xlabel="thousand operations", ylabel=burst, title=_titles(group))
        right.set(xlabel="thousand operations", ylabel="mixed pageblocks, %")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def _errors(found: list[Estimate]) -> list[float]:
    return [0.0 if one.half == float("inf") else one.half for one in found]


def _colour(number: int) -> str:
    """Twelve colours that stay apart (Paul Tol's muted ones and some greys)."""
    tol = ("#bbbbbb", "#555555", "#000000", "#aa4499", "#88ccee", "#44aa99", "#332288", "#117733")
    more = ("#999933", "#ddcc77", "#cc6677", "#882255")
    return (tol + more)[number % 12]

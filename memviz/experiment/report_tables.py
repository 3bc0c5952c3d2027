"""The report's tables: a row a policy."""

from __future__ import annotations

from collections.abc import Sequence

from memviz.experiment import figures, markdown, over_time
from memviz.experiment.figures import Group
from memviz.experiment.over_time import chief
from memviz.experiment.report_words import SHORT_PRICE
from memviz.experiment.table import Results


def success_table(results: Results, group: Group, phase: str, orders: Sequence[int]) -> list[str]:
    """Success by order, a row a policy, and what changed at the chief order."""
    watched = chief(results) if chief(results) in orders else max(orders)
    rows = []
    for policy in results.spec.policy:
        values = [figures.success(phase, order) for order in orders]
        cells = [markdown.written(figures.estimated(results, group, policy.name, value), ".0f") for value in values]
        change = figures.compared(results, group, policy.name, figures.success(phase, watched))
        cells.append("" if policy.name == results.spec.baseline else markdown.with_seeds(change))
        rows.append([policy.name, *cells])
    head = [f"policy (mean, %; {phase})", *(f"order {order}" for order in orders)]
    return markdown.table([*head, f"points against {results.spec.baseline}, order {watched}"], rows)


def time_says(results: Results, order: int) -> str:
    """What the table over time shows."""
    begin = "after the policy was switched on" if "aged" in results.spec.begin else "after the ageing"
    return f"Requests of order {order} that succeed, steady, while time goes by {begin}:"


def time_table(results: Results, group: Group, order: int) -> list[str]:
    """Steady success in each part of the demand's time."""
    rows = []
    for policy in results.spec.policy:
        found = over_time.steady(results, group, policy.name, order)
        rows.append([policy.name, *(markdown.written(one, ".0f") for one in found)])
    heads = [f"to operation {mark:,}" for mark in over_time.marks(results)]
    return markdown.table(["policy (mean, %)", *heads], rows)


def whole_table(results: Results, group: Group, names: Sequence[str]) -> list[str]:
    """Purity and the unusable index, before and after demands."""
    order = chief(results)
    columns = [
        figures.Figure("mixed pageblocks, %", figures.acted(figures.mixed_share), ".0f", -1),
        figures.Figure(
            f"unusable index, order {order}", figures.acted(lambda one: one.unusable[order] / 1000), ".2f", -1
        ),
        figures.Figure("free pages", figures.acted(lambda one: one.free_pages), ",.0f", 0),
    ]
    if order in results.spec.protocol.steady:
        after = figures.left(order, figures.mixed_share)
        columns.append(figures.Figure("mixed after steady demand, %", after, ".0f", -1))
        after = figures.left(order, lambda one: one.unusable[order] / 1000)
        columns.append(figures.Figure("unusable index after steady demand", after, ".2f", -1))
    if group.begin == "start":
        columns.append(figures.Figure("2 MiB blocks its own users got", figures.huge_pages, ".1f", 1))
    rows = [
        [name, *(markdown.written(figures.estimated(results, group, name, one.value), one.form) for one in columns)]
        for name in names
    ]
    return markdown.table(["policy (mean)", *(one.title for one in columns)], rows)


def short_table(results: Results, group: Group, names: Sequence[str]) -> list[str]:
    """The README's: the chief order, and the chief parts of the price."""
    protocol, order = results.spec.protocol, chief(results)
    phases = [phase for phase, orders in (("burst", protocol.burst), ("steady", protocol.steady)) if order in orders]
    prices = [one for one in figures.PRICE if one.title in SHORT_PRICE]
    rows = []
    for name in names:
        values = [figures.success(phase, order) for phase in phases]
        cells = [markdown.written(figures.estimated(results, group, name, value), ".0f") + " %" for value in values]
        if values:
            change = figures.compared(results, group, name, values[-1])
            cells.append("" if name == results.spec.baseline else markdown.with_seeds(change))
        cells += [markdown.number(figures.estimated(results, group, name, one.value).mean, one.form) for one in prices]
        rows.append([name, *cells])
    head = ["policy", *(f"{phase}, order {order}" for phase in phases)]
    if phases:
        head.append(f"points against {results.spec.baseline}, {phases[-1]}")
    return markdown.table([*head, *(one.title for one in prices)], rows)


def latency_table(results: Results, group: Group, names: Sequence[str]) -> list[str]:
    """Mean virtual time of a request."""
    protocol = results.spec.protocol
    columns = [("burst", order) for order in protocol.burst if order >= 8]
    columns += [("steady", order) for order in protocol.steady if order in (3, 4) or order >= 8]
    rows = [
        [
            name,
            *(
                markdown.written(figures.estimated(results, group, name, figures.latency_us(phase, order)), ",.0f")
                for phase, order in columns
            ),
        ]
        for name in names
    ]
    return markdown.table(["policy (mean, virtual µs)", *(f"{phase}, order {order}" for phase, order in columns)], rows)


def price_table(results: Results, group: Group, names: Sequence[str]) -> list[str]:
    """The price, means over seeds."""
    rows = []
    for name in names:
        means = [figures.estimated(results, group, name, one.value).mean for one in figures.PRICE]
        rows.append([name, *(markdown.number(mean, one.form) for mean, one in zip(means, figures.PRICE, strict=True))])
    return markdown.table(["policy (mean)", *(one.title for one in figures.PRICE)], rows)

"""The report: Markdown, and the README's part of it, both from the results file alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from memviz.experiment import figures
from memviz.experiment.estimate import Difference, Estimate
from memviz.experiment.figures import Group, Value
from memviz.experiment.table import Results

BEGIN_WORDS = {
    "aged": "on the same aged machine",
    "start": "in force all the machine's life",
}
BEGIN_SAYS = {
    "aged": (
        "Every policy meets the very same machine, aged under the baseline (equal digests), is switched on there, does"
        " its action once, and then demands are made."
    ),
    "start": (
        "The policy rules from the first operation on. The scenario's own users profit first: what they hold in huge"
        " pages is no longer there for others."
    ),
}


def report(results: Results, plots: Sequence[str] = ()) -> str:
    """The whole report; ``plots`` are names of files beside it."""
    parts = [_head(results), _answer(results)]
    if plots:
        parts.append("\n\n".join(f"![{name.rsplit('.', 1)[0].replace('-', ' ')}]({name})" for name in plots))
    parts += [_group(results, group) for group in figures.groups(results)]
    parts += [_policies(results), _protocol(results), _limits(results), _digests(results)]
    return "\n\n".join(parts) + "\n"


def readme(results: Results, link: str) -> str:
    """What the README says of it: a table of chosen policies, the answer in a sentence, and the limits in one."""
    lines = [f"**{results.spec.title}** [{results.name}]({link}) says:"]
    for group in figures.groups(results):
        lines += ["", f"{_where(group, results)}:", "", *_help_table(results, group, results.spec.headline, short=True)]
    lines += ["", _answer(results), "", f"Limits: {' '.join(results.spec.limits[:2])} All of them are in the report."]
    return "\n".join(lines)


def _head(results: Results) -> str:
    spec = results.spec
    seeds = ", ".join(str(seed) for seed in spec.seeds)
    groups = len(spec.scenarios) * len(spec.memory_mib) * len(spec.begin)
    return "\n".join(
        [
            f"# {spec.title}",
            "",
            f"*{spec.question}* (Al Viro to the series of 2019, 3 April 2019, in substance.)"
            if "throw away" in spec.question
            else f"*{spec.question}*",
            "",
            "Every figure here comes from one command, and a check fails when one of them is not what the results say:",
            "",
            "```sh",
            results.command,
            f"memviz experiment {results.name} --check docs/experiments",
            "```",
            "",
            f"- {len(results.runs)} runs: {len(spec.policy)} policies × seeds {seeds} × {groups} settings",
            f"- {results.seconds / len(results.runs):.1f} s a run, at most {results.peak_mib} MiB of memory a process",
            f"- memviz {results.memviz}, simulation sources `{results.sources}`, Python {results.python}",
            f"- kernel {results.kernel}; compiled or not, the figures are the same",
            f"- digest of all results: `{results.digest}`",
            "- intervals: 95 %, Student's t over seeds; differences are paired by seed",
        ]
    )


def _answer(results: Results) -> str:
    """The answer, in sentences whose every figure is computed."""
    spec = results.spec
    order = max(spec.protocol.steady, default=-1)
    if order < 0 or len(spec.policy) < 2:
        return ""
    said = []
    for group in figures.groups(results):
        value = figures.success("steady", order)
        rivals = [one.name for one in spec.policy if one.name != spec.baseline]
        best = max(rivals, key=lambda name: figures.estimated(results, group, name, value).mean)
        change = figures.compared(results, group, best, value)
        base = figures.estimated(results, group, spec.baseline, value)
        top = figures.estimated(results, group, best, value)
        said.append(
            f"{_where(group, results)}, requests of order {order} while the work goes on succeed"
            f" {_number(base.mean, '.0f')} % of the time under *{spec.baseline}* and"
            f" {_number(top.mean, '.0f')} % under *{best}*"
            f" ({_change(change, '.0f')} points, better with {change.better} of {change.seeds} seeds)."
        )
    return " ".join(said)


def _where(group: Group, results: Results) -> str:
    words = BEGIN_WORDS[group.begin]
    if len(results.spec.scenarios) * len(results.spec.memory_mib) > 1:
        words = f"{group.machine}, {words}"
    return words[0].upper() + words[1:]


def _group(results: Results, group: Group) -> str:
    names = [one.name for one in results.spec.policy]
    title = _where(group, results)
    lines = [f"## {title}", "", f"{group.machine}. {BEGIN_SAYS[group.begin]}", ""]
    lines += ["### How much it helps", "", *_help_table(results, group, names, short=False), ""]
    lines += ["### How long a request takes", "", *_latency_table(results, group, names), ""]
    lines += [
        "### What it costs",
        "",
        (
            "The ageing and the steady demands together."
            if group.begin == "start"
            else "The action, when there is one, and the steady demands together; the ageing is the same for all."
        )
        + " *Pages read again* is cache thrown away that was wanted after all.",
        "",
        *_price_table(results, group, names),
    ]
    return "\n".join(lines)


def _help_table(results: Results, group: Group, names: Sequence[str], short: bool) -> list[str]:
    protocol = results.spec.protocol
    columns: list[tuple[str, Value, str]] = []
    shown = [order for order in protocol.burst if not short and (order < 4 or order > 5)] or protocol.burst[-2:-1]
    if not short:
        columns += [(f"burst, order {order}", figures.success("burst", order), " %") for order in shown]
    columns += [(f"steady, order {order}", figures.success("steady", order), " %") for order in protocol.steady]
    rows = []
    for name in names:
        cells = [
            f"{_estimate(figures.estimated(results, group, name, value), '.0f')}{unit}" for _, value, unit in columns
        ]
        if protocol.steady:
            top = figures.success("steady", max(protocol.steady))
            cells.append("" if name == results.spec.baseline else _verdict(figures.compared(results, group, name, top)))
        if group.begin == "start":
            cells.append(_estimate(figures.estimated(results, group, name, figures.huge_pages), ".1f"))
        if not short:
            mixed = figures.last_sample(figures.mixed_share)
            cells.append(_estimate(figures.estimated(results, group, name, mixed), ".0f") + " %")
            if group.begin == "start":
                index = figures.last_sample(lambda sample: sample.unusable[9] / 1000)
                cells.append(_estimate(figures.estimated(results, group, name, index), ".2f"))
        else:
            for title in ("objects moved", "pages read again", "rcu_barrier, ms"):
                one = next(figure for figure in figures.PRICE if figure.title == title)
                cells.append(_number(figures.estimated(results, group, name, one.value).mean, one.form))
        rows.append([name, *cells])
    head = ["policy", *(title for title, _, _ in columns)]
    if protocol.steady:
        head.append(f"change at order {max(protocol.steady)}")
    if group.begin == "start":
        head.append("2 MiB blocks its own users got")
    if not short:
        head.append("mixed pageblocks")
        if group.begin == "start":
            head.append("unusable index, order 9")
    else:
        head += ["objects moved", "pages read again", "rcu_barrier, ms"]
    return _table(head, rows)


def _latency_table(results: Results, group: Group, names: Sequence[str]) -> list[str]:
    protocol = results.spec.protocol
    columns = [("burst", order) for order in protocol.burst if order >= 8] + [("steady", o) for o in protocol.steady]
    rows = [
        [
            name,
            *(
                _estimate(figures.estimated(results, group, name, figures.latency_us(phase, order)), ",.0f")
                for phase, order in columns
            ),
        ]
        for name in names
    ]
    return _table(["policy (mean, virtual µs)", *(f"{phase}, order {order}" for phase, order in columns)], rows)


def _price_table(results: Results, group: Group, names: Sequence[str]) -> list[str]:
    rows = [
        [name, *(_number(figures.estimated(results, group, name, one.value).mean, one.form) for one in figures.PRICE)]
        for name in names
    ]
    return _table(["policy (mean)", *(one.title for one in figures.PRICE)], rows)


def _policies(results: Results) -> str:
    rows = [
        [
            one.name,
            one.says,
            ", ".join(f"{switch}={value}" for switch, value in one.switches.items()) or "defaults",
            f"{one.action} {one.ratio} %" if one.action == "defragment" else one.action,
        ]
        for one in results.spec.policy
    ]
    return "\n".join(["## Policies", "", *_table(["policy", "what it is", "switches", "action"], rows)])


def _protocol(results: Results) -> str:
    p = results.spec.protocol
    return (
        "## How it was measured\n\n"
        f"A machine lives through the whole scenario. A *burst* asks for blocks of one order in a row until they are"
        f" {p.share} % of memory or {p.patience} requests in a row have failed; requests that were not made count as"
        f" failed. *Steady* asks {p.requests} times for one block, {p.every} operations of the workload apart, and"
        f" gives a block back when {p.hold} younger ones are held. Each demand is made on a copy of the machine, so"
        " that all orders meet the same one. Requests are for unmovable memory, GFP_KERNEL, up to order 3 with"
        " __GFP_NORETRY as the network asks; compaction's hints and deferrals are forgotten before each demand."
        f" An action comes {p.actions} times in the machine's life, the last time right before"
        " the demands."
    )


def _limits(results: Results) -> str:
    return "\n".join(["## Limits", "", *(f"- {limit}" for limit in results.spec.limits)])


def _digests(results: Results) -> str:
    lines = ["## Digests", "", "Of each aged machine; the first eight digits."]
    for group in figures.groups(results):
        rows = [
            [name, *(f"`{run.outcome.digest[:8]}`" for run in figures.runs_of(results, group, name))]
            for name in (one.name for one in results.spec.policy)
        ]
        seeds = [f"seed {seed}" for seed in sorted(results.spec.seeds)]
        lines += ["", f"{_where(group, results)}:", "", *_table(["policy", *seeds], rows)]
    return "\n".join(lines)


# -- writing -------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _number(value: float, form: str) -> str:
    text = format(value, form)
    return text.replace("-0", "0", 1) if float(text.replace(",", "")) == 0 else text


def _estimate(one: Estimate, form: str) -> str:
    mean = _number(one.mean, form)
    if math.isinf(one.half) or one.half == 0:
        return mean
    return f"{mean} ± {_number(one.half, form)}"


def _change(one: Difference, form: str) -> str:
    mean = format(one.estimate.mean, f"+{form}")
    return mean if math.isinf(one.estimate.half) else f"{mean} ± {_number(one.estimate.half, form)}"


def _verdict(one: Difference) -> str:
    mark = "" if one.sure else " (not sure)"
    return f"{_change(one, '.0f')}, {one.better} of {one.seeds} seeds better{mark}"

"""The report: Markdown, and the README's part of it, both from the results file alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from memviz.experiment import figures
from memviz.experiment.estimate import Difference, Estimate
from memviz.experiment.figures import Group, Value
from memviz.experiment.table import Results

BEGIN_WORDS = {
    "aged": "on the same aged machine",
    "start": "in force all the machine's life",
}
_SHORT_PRICE = ("objects moved", "objects thrown away", "pages read again", "rcu_barrier, ms")
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
            _check_command(results),
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


def _check_command(results: Results) -> str:
    """The command that checks what ``results.command`` has made."""
    words = shlex.split(results.command)
    folder = words[words.index("-o") + 1] if "-o" in words else results.name
    checks = ["memviz", "experiment", words[2], "--check", folder]
    if "--readme" in words:
        checks += ["--readme", words[words.index("--readme") + 1]]
    return shlex.join(checks)


def _answer(results: Results) -> str:
    """The answer, in sentences whose every figure is computed."""
    spec = results.spec
    order = _chief(results)
    if order not in spec.protocol.steady or len(spec.policy) < 2:
        return ""
    return "\n\n".join(_answer_of(results, group, order) for group in figures.groups(results))


def _answer_of(results: Results, group: Group, order: int) -> str:
    spec = results.spec
    value = figures.success("steady", order)
    rivals = [one.name for one in spec.policy if one.name != spec.baseline]
    best = max(rivals, key=lambda name: figures.estimated(results, group, name, value).mean)
    said = f"{_where(group, results)}: requests of order {order} while the work goes on succeed"
    said += f" {_mean(results, group, spec.baseline, value, '.0f')} % of the time under *{spec.baseline}* and"
    said += f" {_mean(results, group, best, value, '.0f')} % under *{best}*"
    change = figures.compared(results, group, best, value)
    said += f" ({_change(change, '.0f')} points, better with {change.better} of {change.seeds} seeds)"
    if order in spec.protocol.burst:
        at_once = figures.success("burst", order)
        said += f"; in a burst {_mean(results, group, spec.baseline, at_once, '.0f')} %"
        said += f" and {_mean(results, group, best, at_once, '.0f')} %"
    price = {one.title: figures.compared(results, group, best, one.value).estimate.mean for one in figures.PRICE}
    said += f". The price, against {spec.baseline}: {_number(price['objects moved'], '+,.0f')} objects moved,"
    said += f" {_number(price['objects thrown away'], '+,.0f')} thrown away,"
    said += f" {_number(price['pages read again'], '+,.0f')} pages of cache read again,"
    said += f" {_number(price['rcu_barrier, ms'], '+,.0f')} ms waiting for RCU,"
    return said + f" {_number(price['virtual time, s'], '+.3f')} s of virtual time for the same work."


def _mean(results: Results, group: Group, policy: str, value: Value, form: str) -> str:
    return _number(figures.estimated(results, group, policy, value).mean, form)


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
    """Success by order; ``short`` is the README's: the largest orders only, with the chief part of the price."""
    protocol = results.spec.protocol
    orders = [order for order in protocol.burst if (order == _chief(results) if short else not 4 <= order <= 5)]
    columns = [(f"burst, order {order}", figures.success("burst", order)) for order in orders]
    columns += [
        (f"steady, order {order}", figures.success("steady", order))
        for order in protocol.steady
        if not short or order == _chief(results)
    ]
    extra = [figures.Figure("mixed pageblocks, %", figures.last_sample(figures.mixed_share), ".0f", -1)]
    index = figures.last_sample(lambda sample: sample.unusable[9] / 1000)
    extra.append(figures.Figure("unusable index, order 9", index, ".2f", -1))
    extra.append(figures.Figure("2 MiB blocks its own users got", figures.huge_pages, ".1f", 1))
    shown = [] if group.begin == "aged" else extra
    prices = [one for one in figures.PRICE if short and one.title in _SHORT_PRICE]
    rows = []
    for name in names:
        cells = [_estimate(figures.estimated(results, group, name, value), ".0f") + " %" for _, value in columns]
        if columns:
            change = figures.compared(results, group, name, columns[-1][1])
            cells.append("" if name == results.spec.baseline else _verdict(change))
        cells += [_estimate(figures.estimated(results, group, name, one.value), one.form) for one in shown]
        cells += [_number(figures.estimated(results, group, name, one.value).mean, one.form) for one in prices]
        rows.append([name, *cells])
    head = ["policy", *(title for title, _ in columns)]
    if columns:
        head.append(f"points against {results.spec.baseline}, {columns[-1][0]}")
    return _table([*head, *(one.title for one in (*shown, *prices))], rows)


def _chief(results: Results) -> int:
    """The order that matters most: the largest that is asked for steadily."""
    return max(results.spec.protocol.steady, default=max(results.spec.protocol.burst, default=-1))


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
    return "\n".join(["## Policies", "", *_table(["policy", "what it is", "switches", "action"], rows, "---")])


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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "---:") -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---" + f"|{align}" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _number(value: float, form: str) -> str:
    text = format(value, form)
    return text.replace("-", "+" if form.startswith("+") else "", 1) if float(text.replace(",", "")) == 0 else text


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

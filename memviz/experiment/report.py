"""The report: Markdown, and the README's part of it, both from the results file alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from memviz.experiment import figures, literature, markdown, over_time, report_tables, report_words
from memviz.experiment.estimate import paired
from memviz.experiment.figures import Group, Value
from memviz.experiment.over_time import chief
from memviz.experiment.report_words import SOURCES_ARE
from memviz.experiment.table import Results


def report(results: Results, plots: Sequence[str] = ()) -> str:
    """The whole report; ``plots`` are names of files beside it."""
    parts = [_head(results), _answer(results), literature.summary_of(results)]
    if plots:
        parts.append("\n\n".join(f"![{name.rsplit('.', 1)[0].replace('-', ' ')}]({name})" for name in plots))
    parts += [_group(results, group) for group in figures.groups(results)]
    parts += [literature.section(results), _policies(results), _words(), _protocol(results), _limits(results)]
    parts.append(_digests(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def readme(results: Results, link: str) -> str:
    """What the README says of it: the answer in a few sentences, a table of chosen policies, and the chief limits."""
    lines = [f"**{results.spec.title}**", "", _answer(results)]
    groups = figures.groups(results)
    for group in groups:
        if len(groups) > 1:
            lines += ["", f"{_where(group, results)}:"]
        lines += ["", *report_tables.short_table(results, group, results.spec.headline)]
    limits = " ".join(results.spec.limits[:2])
    lines += ["", f"{limits} All limits, every order, the price and how it was measured: [the report]({link})."]
    return "\n".join(lines)


def _head(results: Results) -> str:
    spec = results.spec
    seeds = ", ".join(str(seed) for seed in spec.seeds)
    groups = len(spec.scenarios) * len(spec.memory_mib) * len(spec.begin)
    more = sum(len(part.runs) for part in results.literature)
    settings = "1 setting" if groups == 1 else f"{groups} settings"
    along = f", and {more} more of what has been published" if more else ""
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
            f"- {len(results.runs)} runs: {len(spec.policy)} policies × seeds {seeds} × {settings}{along}",
            f"- {results.seconds / (len(results.runs) + more):.1f} s a run; at most {results.peak_mib} MiB a process",
            f"- memviz {results.memviz}, Python {results.python}, ran on sources `{results.sources}`: {SOURCES_ARE}",
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
    order = chief(results)
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
    said += f" ({markdown.changed(change, '.0f')} points, better with {change.better} of {change.seeds} seeds)"
    if order in spec.protocol.burst:
        at_once = figures.success("burst", order)
        said += f"; in a burst {_mean(results, group, spec.baseline, at_once, '.0f')} %"
        said += f" and {_mean(results, group, best, at_once, '.0f')} %"
    price = {one.title: figures.compared(results, group, best, one.value).estimate.mean for one in figures.PRICE}
    said += f". The price, against {spec.baseline}: {markdown.number(price['objects moved'], '+,.0f')} objects moved,"
    said += f" {markdown.number(price['objects thrown away'], '+,.0f')} thrown away,"
    said += f" {markdown.number(price['pages read again'], '+,.0f')} pages of cache read again,"
    said += f" {markdown.number(price['rcu_barrier, ms'], '+,.0f')} ms waiting for RCU,"
    said += f" {markdown.number(price['virtual time, s'], '+.3f')} s of virtual time for the same work."
    return said + "".join(_pair(results, group, value, *pair) for pair in spec.pairs)


def _pair(results: Results, group: Group, value: Value, this: str, that: str) -> str:
    """How two policies compare that are alike in all but one thing."""
    mine, theirs = (figures.values(results, group, name, value) for name in (this, that))
    change = paired(mine, theirs)
    said = f" *{this}* against *{that}*: {_mean(results, group, this, value, '.0f')} % against"
    said += f" {_mean(results, group, that, value, '.0f')} % ({markdown.changed(change, '.0f')} points, better with"
    return said + f" {change.better} of {change.seeds} seeds)."


def _mean(results: Results, group: Group, policy: str, value: Value, form: str) -> str:
    return markdown.number(figures.estimated(results, group, policy, value).mean, form)


def _where(group: Group, results: Results) -> str:
    words = report_words.BEGIN_WORDS[group.begin]
    if len(results.spec.scenarios) * len(results.spec.memory_mib) > 1:
        words = f"{group.machine}, {words}"
    return words[0].upper() + words[1:]


def _group(results: Results, group: Group) -> str:
    names = [one.name for one in results.spec.policy]
    protocol = results.spec.protocol
    title = _where(group, results)
    lines = [f"## {title}", "", f"{group.machine}. {report_words.BEGIN_SAYS[group.begin]}", ""]
    lines += ["### How much it helps", ""]
    for phase, orders in (("burst", protocol.burst), ("steady", protocol.steady)):
        if orders:
            lines += [
                f"Requests that succeed, {report_words.PHASE_SAYS[phase]}:",
                "",
                *report_tables.success_table(results, group, phase, orders),
                "",
            ]
    order = chief(results)
    if order in protocol.steady and over_time.steady(results, group, results.spec.baseline, order):
        lines += [report_tables.time_says(results, order), "", *report_tables.time_table(results, group, order), ""]
    lines += [
        "### How whole memory is",
        "",
        report_words.WHOLE_SAYS,
        "",
        *report_tables.whole_table(results, group, names),
        "",
    ]
    lines += ["### How long a request takes", "", *report_tables.latency_table(results, group, names), ""]
    lines += [
        "### What it costs",
        "",
        report_words.PRICE_SAYS[group.begin],
        "",
        *report_tables.price_table(results, group, names),
    ]
    return "\n".join(lines)


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
    return "\n".join(["## Policies", "", *markdown.table(["policy", "what it is", "switches", "action"], rows, "---")])


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


def _words() -> str:
    rows = [[f"*{word}*", says] for word, says in report_words.WORDS]
    return "\n".join(["## Words", "", *markdown.table(["word", "what it means"], rows, "---")])


def _digests(results: Results) -> str:
    lines = ["## Digests", "", "Of each aged machine; the first eight digits."]
    for group in figures.groups(results):
        rows = [
            [name, *(f"`{run.outcome.digest[:8]}`" for run in figures.runs_of(results, group, name))]
            for name in (one.name for one in results.spec.policy)
        ]
        seeds = [f"seed {seed}" for seed in sorted(results.spec.seeds)]
        lines += ["", f"{_where(group, results)}:", "", *markdown.table(["policy", *seeds], rows)]
    return "\n".join(lines)

"""The report's part "Against the literature": what has been published, and whether the simulation shows it."""

from __future__ import annotations

from memviz.experiment import markdown
from memviz.experiment.claims import AGREES, DIFFERS, LEANS, Verdict, verdict, verdicts
from memviz.experiment.table import Part, Results


def section(results: Results) -> str:
    """The part as Markdown; empty when nothing is claimed."""
    found = verdicts(results)
    if not found:
        return ""
    lines = ["## Against the literature", "", summary(found), ""]
    rows = [row(one) for one in found]
    head = ["published", "source", "figure here", "is", "against", "difference", "the simulation"]
    lines += markdown.table(head, rows, "---")
    doubts = [f"- {one.claim.figure}, {one.claim.policy}: {one.claim.doubt}" for one in found if one.claim.doubt]
    if doubts:
        lines += ["", "What is not the same there and here:", "", *doubts]
    lines += ["", "The machines:", ""]
    lines += [f"- {told(part)}" for part in (results, *results.literature) if part.spec.claim]
    return "\n".join(lines)


def summary_of(results: Results) -> str:
    """The same in a sentence, where the report begins; empty when nothing is claimed."""
    found = verdicts(results)
    if not found:
        return ""
    agree = sum(one.words == AGREES for one in found)
    return (
        f"Held against what has been published: {agree} of {len(found)} directions come out here as they were measured"
        " there, see [Against the literature](#against-the-literature)."
    )


def in_short(part: Part) -> str:
    """The same of one experiment, in a few words; empty when it has no claims."""
    found = [verdict(part, claim) for claim in part.spec.claim]
    agree = sum(one.words == AGREES for one in found)
    return f"{agree} of {len(found)} published directions come out here" if found else ""


def summary(found: list[Verdict]) -> str:
    """How many of the published directions come out here, in a sentence, and how that is judged."""
    counts = {words: sum(one.words == words for one in found) for words in (AGREES, LEANS, DIFFERS)}
    return (
        f"Of {len(found)} published directions the simulation agrees with {counts[AGREES]}; {counts[LEANS]} more come"
        f" out in the same direction, but not for sure; {counts[DIFFERS]} do not show. Directions only: the published"
        " figures are of real machines of another size. *Agrees*: the 95 % interval of the difference, paired by seed,"
        " lies on the published side of nought (where nothing should differ: it holds nought)."
    )


def row(one: Verdict) -> list[str]:
    """A claim as a row of the table."""
    claim, form = one.claim, one.figure.form
    here = f"{claim.policy}: {markdown.written(one.here, form)}"
    against = claim.than or (claim.than_figure if claim.than_figure else claim.policy)
    there = f"{against}: {markdown.written(one.there, form)}"
    said = claim.published
    return [said, claim.source, claim.figure, here, there, markdown.changed(one.change, form), f"**{one.words}**"]


def told(part: Part) -> str:
    """An experiment of the literature in a line."""
    spec = part.spec
    sizes = ", ".join(f"{size} MiB" for size in spec.memory_mib)
    limits = " ".join(spec.limits)
    return (
        f"*{part.name}*: {spec.title}. {', '.join(spec.scenarios)}, {sizes}, {len(spec.seeds)} seeds. {limits}".strip()
    )

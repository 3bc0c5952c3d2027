"""Tables and numbers as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from memviz.experiment.estimate import Difference, Estimate


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "---:") -> list[str]:
    """Rows as a Markdown table; ``align``: of all columns but the first."""
    lines = ["| " + " | ".join(head) + " |", "|---" + f"|{align}" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def number(value: float, form: str) -> str:
    """A number as ``form`` says; nought has no minus."""
    text = format(value, form)
    return text.replace("-", "+" if form.startswith("+") else "", 1) if float(text.replace(",", "")) == 0 else text


def written(one: Estimate, form: str) -> str:
    """A mean, and the half of its interval where there is one."""
    mean = number(one.mean, form)
    if math.isinf(one.half) or one.half == 0:
        return mean
    return f"{mean} ± {number(one.half, form)}"


def changed(one: Difference, form: str) -> str:
    """What a policy changed, and the half of the interval."""
    mean = format(one.estimate.mean, f"+{form}")
    return mean if math.isinf(one.estimate.half) else f"{mean} ± {number(one.estimate.half, form)}"


def with_seeds(one: Difference) -> str:
    """What a policy changed, and with how many seeds."""
    mark = "" if one.sure else " (not sure)"
    return f"{changed(one, '.0f')}, {one.better} of {one.seeds} seeds better{mark}"

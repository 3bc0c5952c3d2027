"""A replayed trace as a person reads it: policies side by side."""

from __future__ import annotations

from memviz.analysis.replay import Comparison, Replayed

_ORDERS = (3, 4, 9)


def comparison_text(found: Comparison, name: str) -> str:
    """The report, as text of 80 columns and some."""
    asked = ", ".join(f"{count} of order {order}" for order, count in enumerate(found.requests) if count)
    lines = [
        f"{name}: {sum(found.requests)} requests ({asked}),",
        f"{found.frees} blocks given back; {found.frees_of_older} frees of pages from before the trace left out.",
        f"The traffic held {found.peak_pages} page frames at most and {found.kept_pages} at its end.",
        *_machine(found),
        f"The real machine, without pressure: {found.failed_in_trace} failed, {found.fallbacks_in_trace} fallbacks.",
        "",
    ]
    rows = [("", [one.policy for one in found.results]), *_rows(found)]
    width = max(len(label) for label, _ in rows) + 2
    column = max(len(cell) for _, cells in rows for cell in cells) + 2
    for label, cells in rows:
        lines.append((label.ljust(width) + "".join(cell.rjust(column) for cell in cells)).rstrip())
    lines.append("")
    lines += [f"{one.policy}: {one.explanation}; digest {one.digest}" for one in found.results]
    lines.append("unusable, fragmentation: the kernel's indices in thousandths; -1000: a request would succeed.")
    return "\n".join(lines)


def _machine(found: Comparison) -> list[str]:
    if not found.like or found.start is None:
        return [f"Replayed on an aged machine of {found.memory_mib} MiB (seed {found.seed})."]
    here = " ".join(map(str, found.start.nr_free))
    there = sum(count << order for order, count in enumerate(found.like))
    return [
        f"Replayed on a machine of {found.memory_mib} MiB (seed {found.seed}), free as the real zone was before:",
        f"  free blocks there, orders 0 to 10: {' '.join(map(str, found.like))} ({there:,} page frames)",
        f"  free blocks here:                  {here} ({found.start.free_pages:,} page frames)",
    ]


def _rows(found: Comparison) -> list[tuple[str, list[str]]]:
    columns = [_column(found, one) for one in found.results]
    return [(label, [str(column[label]) for column in columns]) for label in columns[0]]


def _column(found: Comparison, one: Replayed) -> dict[str, int]:
    """What the table says of one policy; the keys are its labels."""
    column = {"requests that failed": sum(one.failed)}
    for order, count in enumerate(found.requests):
        if count and order:
            column[f"  of order {order}"] = one.failed[order]
    column["fallbacks to another migratetype"] = one.fallbacks
    column["  that mix types in a pageblock"] = one.polluting
    column["page cache reclaimed"] = one.reclaimed
    column["pages that compaction moved"] = one.migrated
    for when, index in (("peak", one.at_peak), ("end", one.at_end)):
        column[f"{when}: free page frames"] = index.free_pages
        column[f"{when}: mixed pageblocks"] = index.mixed_blocks
        column[f"{when}: free 2 MiB blocks"] = sum(blocks << order for order, blocks in enumerate(index.nr_free[9:]))
        for order in _ORDERS:
            column[f"{when}: unusable, order {order}"] = index.unusable[order]
            column[f"{when}: fragmentation, order {order}"] = index.fragmentation[order]
    return column

"""How the user likes to look at things, kept from one time to the next: the map's colours and layout, which chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from memviz.gui.panel import View
from memviz.gui.render.heatmap_modes import MODES
from memviz.gui.render.slab import SORTS
from memviz.gui.settings import Settings
from memviz.gui.views.charts import CHARTS, ChartsView
from memviz.gui.views.heatmap import LAYOUTS, HeatmapView
from memviz.gui.views.slab_grid import SlabGridView


class Choice(NamedTuple):
    """One thing to remember."""

    key: str
    valid: tuple[str, ...]
    now: Callable[[], str]
    choose: Callable[[str], None]


def choices(views: Sequence[View]) -> list[Choice]:
    """What can be chosen in ``views``."""
    found: list[Choice] = []
    for view in views:
        if isinstance(view, HeatmapView):
            modes = tuple(mode.id for mode in MODES)
            found.append(Choice("map_colour", modes, partial(_mode_of, view), view.set_mode))
            layouts = tuple(name for name, _ in LAYOUTS)
            found.append(Choice("map_layout", layouts, partial(getattr, view, "layout_name"), view.set_layout_name))
        elif isinstance(view, ChartsView):
            charts = tuple(name for name, _ in CHARTS)
            found.append(Choice("chart", charts, partial(getattr, view, "chart"), view.set_chart))
        elif isinstance(view, SlabGridView):
            sorts = tuple(name for name, _ in SORTS)
            found.append(Choice("slab_order", sorts, partial(getattr, view, "sort"), view.set_sort))
    return found


def _mode_of(view: HeatmapView) -> str:
    return view.mode.id


def restore(views: Sequence[View], settings: Settings) -> None:
    """Choose what was chosen last; what is not valid any more is left alone."""
    for one in choices(views):
        value = settings.choice(one.key)
        if value in one.valid and value != one.now():
            one.choose(value)


def remember(views: Sequence[View], settings: Settings) -> None:
    """Keep what is chosen now."""
    for one in choices(views):
        settings.set_choice(one.key, one.now())

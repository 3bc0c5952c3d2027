"""Which panels there are, in the order in which Tab and Ctrl+number go through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memviz.gui.panel import View
from memviz.gui.views.caches import CachesView
from memviz.gui.views.charts import ChartsView
from memviz.gui.views.contiguity import ContiguityView
from memviz.gui.views.cpu_lanes import CpuLanesView
from memviz.gui.views.events import EventsView
from memviz.gui.views.heatmap import HeatmapView
from memviz.gui.views.notes import NotesView
from memviz.gui.views.policies import PoliciesView
from memviz.gui.views.request import RequestView
from memviz.gui.views.slab_grid import SlabGridView
from memviz.gui.views.stepper import StepperView
from memviz.gui.views.story import StoryView
from memviz.gui.views.timeline import TimelineView
from memviz.gui.views.xarray_tree import XArrayTreeView

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow


def make(window: MainWindow) -> list[View]:
    """One view for every panel, children of ``window``. A new one also needs a place in ``docks.Docks.arrange``."""
    chosen, theme, session = window.selection, window.theme, window.session
    return [
        HeatmapView(chosen, theme, window),
        SlabGridView(chosen, theme, window),
        XArrayTreeView(chosen, theme, window),
        CpuLanesView(chosen, theme, session.lanes, window),
        ContiguityView(chosen, theme, window),
        RequestView(chosen, theme, window),
        StoryView(chosen, theme, window),
        EventsView(chosen, theme, session.log, window),
        TimelineView(chosen, theme, session.history, window),
        ChartsView(chosen, theme, session.history, session.series, window),
        PoliciesView(chosen, theme, window),
        StepperView(chosen, theme, window),
        CachesView(chosen, theme, window),
        NotesView(chosen, theme, window.notes, window),
    ]

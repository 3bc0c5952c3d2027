"""One selection for all views."""

from __future__ import annotations

from memviz.gui.selection import Picked, Selection


def listen(selection: Selection) -> list[Picked]:
    """What is heard of ``selection`` from now on."""
    heard: list[Picked] = []
    selection.changed.connect(lambda: heard.append(selection.now))
    return heard


def test_an_object_is_on_a_page_frame(selection: Selection) -> None:
    heard = listen(selection)
    selection.select_object(0x2A94F << 12 | 584)
    assert heard == [Picked(pfn=0x2A94F, object=0x2A94F248, node=0x2A94F248)]


def test_a_page_lets_the_object_on_another_page_go(selection: Selection) -> None:
    selection.select_node(0x10 << 12)
    selection.select_page(0x11)
    assert (selection.now.pfn, selection.now.object, selection.now.node) == (0x11, -1, -1)


def test_an_event_moves_the_time_cursor_and_picks_cpu_and_page(selection: Selection) -> None:
    selection.select_event(7, 12_000, 2, 0x2C200)
    assert selection.now == Picked(pfn=0x2C200, cpu=2, event=7, time_ns=12_000)


def test_the_same_again_is_not_told(selection: Selection) -> None:
    heard = listen(selection)
    selection.select_page(5)
    selection.select_page(5)
    assert len(heard) == 1


def test_the_source_is_asked_for_details_of_the_selected_page(selection: Selection) -> None:
    asked: list[int] = []
    selection.focus_changed.connect(lambda: asked.append(selection.focus.pfn))
    selection.select_page(9)
    selection.select_cpu(1)
    selection.look_at(cache="dentry")
    selection.look_at(cache="dentry")
    assert asked == [9, 9]
    assert selection.focus.cache == "dentry"

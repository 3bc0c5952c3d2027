"""Defragmentation: the last pass told step by step, what it bought and what it cost."""

from __future__ import annotations

import re
from html import escape
from typing import ClassVar

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QTextBrowser, QVBoxLayout, QWidget

from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render.numbers import count, duration
from memviz.gui.render.unknown import RACE_HINT
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.snapshot import DefragReport, Snapshot


class StoryView(View):
    """The last pass of slab defragmentation."""

    ident: ClassVar[str] = "story"
    title: ClassVar[str] = "Defragmentation"
    what: ClassVar[str] = "The last pass over the slabs: what it moved, what that bought, and what it cost."
    empty: ClassVar[str] = "No slabs have been defragmented yet"
    period_ms: ClassVar[int] = 100

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self.report: DefragReport | None = None
        self._hint = ""
        self.text = QTextBrowser(self)
        self.text.setAccessibleName("The last pass, step by step")
        self.text.setObjectName("story_text")
        self.text.document().setDocumentMargin(2)
        self.text.setOpenLinks(False)
        self.text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.text.hide()
        self.setFocusProxy(self.text)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.text)
        self.setMinimumSize(220, 90)

    def sizeHint(self) -> QSize:
        """As the panel that it shares the place with."""
        return QSize(440, 190)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Tell another pass; the same one costs nothing."""
        self.snapshot = snapshot
        if (hint := self.hint()) != self._hint:
            self._hint = hint
            self.update()
        if snapshot.defrag is self.report or snapshot.defrag == self.report:
            return
        self.report = snapshot.defrag
        self.header.subtitle = self.report.cache if self.report is not None else ""
        self._write()

    def hint(self) -> str:
        """How there could be a pass: not everywhere by a button."""
        source = "" if self.snapshot is None else self.snapshot.source
        if self.snapshot is not None and self.snapshot.race is not None:
            return RACE_HINT
        told = {
            "playback": "No pass was recorded up to this instant",
            "linux": "Linux does not move slab objects; a scenario shows what that would do: Ctrl+N",
        }
        return told.get(source, "Press Defragment slabs, or D")

    def as_text(self) -> str:
        """The story without its colours."""
        return self.text.toPlainText()

    def theme_changed(self) -> None:
        """Colours are in the text."""
        super().theme_changed()
        self._write()

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw why there is no text."""
        if self.report is None:
            painter = QPainter(self)
            self.paint_empty(painter, self.hint())
            painter.end()

    def _write(self) -> None:
        self.text.setVisible(self.report is not None)
        if self.report is not None:
            self.text.setHtml(html(self.report, self.theme))
        self.update()


def html(report: DefragReport, theme: Theme) -> str:
    """The report as a page: two columns of figures, sentence, steps. Figures come first: the line at the top of the
    window says the sentence too, and a panel on a small screen shows the beginning only."""
    muted, good, plain = (theme.color(f"tone.{tone}").name() for tone in ("muted", "good", "plain"))

    def rows(figures: tuple[tuple[str, int], ...], color: str) -> str:
        cells = (
            f"<tr><td style='color:{muted}; padding-right:12px'>{escape(_name(name))}</td>"
            f"<td align='right' style='color:{color if value else muted}'><b>{escape(_figure(name, value))}</b></td>"
            "</tr>"
            for name, value in figures
        )
        return f"<table cellspacing='0' cellpadding='1'>{''.join(cells)}</table>"

    steps = "".join(f"<li style='margin-bottom:2px'>{escape(step)}</li>" for step in report.story)
    return (
        f"<table width='100%' cellspacing='0'><tr>"
        f"<td valign='top' style='padding-right:24px'><span style='color:{muted}'>Bought</span>"
        f"{rows(report.gain, good)}</td>"
        f"<td valign='top'><span style='color:{muted}'>Paid</span>{rows(report.price, plain)}</td>"
        f"</tr></table>{_by_cache(report.sentence)}<ol style='margin-left:-18px; margin-bottom:0'>{steps}</ol>"
    )


def _by_cache(sentence: str) -> str:
    """What became of each cache, on a line of its own, its name in bold."""
    parts = re.split(r"(?:^|(?<=\. ))(\w+): ", sentence)
    lines = [escape(parts[0])] if parts[0].strip() else []
    lines += [
        f"<b>{escape(name)}</b>: {escape(words.strip())}" for name, words in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return "".join(f"<p style='margin-top:5px; margin-bottom:0'>{line}</p>" for line in lines)


def _name(name: str) -> str:
    for tail in (", ns", "_ns", " ns", " (ns)"):
        name = name.removesuffix(tail)
    return name.replace("_", " ")


def _figure(name: str, value: int) -> str:
    return duration(value) if name.rstrip(")").endswith("ns") else count(value)

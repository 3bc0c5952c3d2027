"""What can be taken out of the window: a report of the run as JSON, a picture."""

from __future__ import annotations

from pathlib import Path

import msgspec
from PySide6.QtWidgets import QWidget

import memviz
from memviz.gui import export
from memviz.gui.render.event_log import arguments_of
from memviz.gui.render.event_text import text_of
from memviz.gui.render.history import free_blocks, indices
from memviz.gui.session import Session

_EVENTS = 2000


def build(session: Session) -> dict[str, object]:
    """What the window knows of the run: the failure, the last snapshot's figures, the last events."""
    snapshot = session.snapshot
    out: dict[str, object] = {
        "memviz": memviz.__version__,
        "failure": session.failure,
        "details": session.client.report if session.client is not None else "",
    }
    if session.trouble:
        out["trouble_in_the_window"] = session.trouble
    if snapshot is None:
        return out
    nr_free = free_blocks(snapshot)
    out |= {
        "title": snapshot.title,
        "source": snapshot.source,
        "state": snapshot.state,
        "seq": snapshot.seq,
        "time_ns": snapshot.time_ns,
        "operations": snapshot.ops,
        "page_frames": snapshot.pages.nr,
        "notice": snapshot.notice,
        "free_blocks": nr_free,
        "unusable_index": indices(nr_free),
        "possible_blocks": snapshot.possible,
        "zones": [zone._asdict() for zone in snapshot.zones],
        "caches": [cache._asdict() for cache in snapshot.caches],
        "cpus": [cpu._asdict() for cpu in snapshot.cpus],
        "counters": dict(snapshot.counters),
        "policies": dict(snapshot.policies),
        "outcomes": [outcome._asdict() for outcome in snapshot.outcomes],
        "request": snapshot.request,
        "defragmentation": snapshot.defrag,
        "events": [
            {
                "seq": int(row["seq"]),
                "time_ns": int(row["time"]),
                "cpu": int(row["cpu"]),
                "kind": int(row["kind"]),
                "arguments": arguments_of(row),
                "text": text_of(int(row["kind"]), arguments_of(row), session.names),
            }
            for row in session.log.events[-_EVENTS:]
        ],
    }
    for name in ("request", "defrag"):
        value = getattr(snapshot, name)
        out["defragmentation" if name == "defrag" else name] = value._asdict() if value is not None else None
    return out


def write(path: Path, found: dict[str, object]) -> None:
    """Write what ``build`` made. Raises OSError when the file can't be written."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def save_picture(path: str, window: QWidget) -> None:
    """Write ``window`` as what the name says, a PNG if it says nothing. Raises OSError when that can't be."""
    target = Path(path)
    if target.suffix.lower() == ".svg":
        target.write_bytes(export.svg_of(window, window.windowTitle()))
    else:
        export.write_image(window.grab().toImage(), target, target.suffix)

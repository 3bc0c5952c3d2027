"""Rows of the action table: what can be done with a recording that is played."""

from __future__ import annotations

from typing import Final, Literal

from memviz.gui.act import Act


def _jumps(to: Literal["failure", "defragmentation", "grace period"], words: str, key: str) -> tuple[Act, Act]:
    ident = to.replace(" ", "_")
    return (
        Act(
            f"next_{ident}",
            f"Next {words}",
            "Recording",
            lambda window: window.recordings.jump(to),
            (key,),
            f"Wind the recording to the next {words}.",
            needs_playback=True,
        ),
        Act(
            f"last_{ident}",
            f"Previous {words}",
            "Recording",
            lambda window: window.recordings.jump(to, False),
            (f"Shift+{key}",),
            f"Wind the recording back to the {words} before this instant.",
            needs_playback=True,
        ),
    )


RECORDING: Final[tuple[Act, ...]] = (
    Act(
        "continue",
        "Continue from here",
        "Recording",
        lambda w: w.recordings.go_on(),
        ("Ctrl+G",),
        "Run the recorded simulation on from this instant: change something, and see another future.",
        "git-fork",
        needs_playback=True,
    ),
    Act(
        "compare",
        "Compare",
        "Recording",
        lambda w: w.recordings.compare(),
        ("Ctrl+Shift+D",),
        "Two instants side by side: of recordings, or of a recording and the run that goes on from it.",
        "layers",
        needs_source=True,
    ),
    Act(
        "step_back",
        "Step back",
        "Recording",
        lambda w: w.recordings.step_back(),
        ("Left",),
        "One recorded instant back, then pause.",
        "skip-back",
        needs_playback=True,
    ),
    Act(
        "turn",
        "Other direction",
        "Recording",
        lambda w: w.recordings.turn(),
        ("B",),
        "Play backwards, or forwards again.",
        needs_playback=True,
    ),
    Act(
        "pace_up",
        "Twice as fast",
        "Recording",
        lambda w: w.recordings.pace(2.0),
        ("Ctrl+Up",),
        "Play the recording at twice the rate.",
        needs_playback=True,
    ),
    Act(
        "pace_down",
        "Half as fast",
        "Recording",
        lambda w: w.recordings.pace(0.5),
        ("Ctrl+Down",),
        "Play the recording at half the rate.",
        needs_playback=True,
    ),
    Act(
        "loop",
        "Repeat what the timeline shows",
        "Recording",
        lambda w: w.recordings.loop(),
        ("Ctrl+L",),
        "Play the part of time that the timeline shows again and again; again: stop that.",
        needs_playback=True,
    ),
    Act(
        "add_note",
        "Add a note",
        "Recording",
        lambda w: w.recordings.add_note(),
        ("Ctrl+D",),
        "Write a note on this instant; it is kept beside the recording, which stays as it is.",
        "plus",
        needs_playback=True,
    ),
    Act(
        "next_note",
        "Next note",
        "Recording",
        lambda w: w.recordings.jump_note(),
        ("Ctrl+.",),
        "Wind the recording to the next note.",
        needs_playback=True,
    ),
    Act(
        "last_note",
        "Previous note",
        "Recording",
        lambda w: w.recordings.jump_note(False),
        ("Ctrl+,",),
        "Wind the recording back to the note before this instant.",
        needs_playback=True,
    ),
    *_jumps("failure", "failed request", "J"),
    *_jumps("defragmentation", "defragmentation", "M"),
    *_jumps("grace period", "grace period", "P"),
)

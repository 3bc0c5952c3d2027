"""Another Linux machine over ssh: the helper's text is sent there and run by its Python; nothing is installed.

``MEMVIZ_SSH`` may name another command than ``ssh`` (with options, as GIT_SSH_COMMAND does); it is called with the host
and one command line for the shell there.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

from memviz import live_helper
from memviz.sources.linux_access import Helper, LiveError, Rights

_PATIENCE_S: Final = 60.0
"""So long the way there may take, with a password that somebody types."""
_BOOT: Final = "import sys; exec(compile(sys.stdin.buffer.read({size}), 'memviz-helper', 'exec'))"


def connect_to(host: str, rights: Rights = "auto", actions: bool = False) -> Helper:
    """The way to the kernel of ``host``. ``rights`` "sudo": root there, without a password. Raises LiveError."""
    if not host or host.startswith("-") or any(letter.isspace() for letter in host):
        raise LiveError(f"{host!r} is no host: write HOST or USER@HOST, as for ssh")
    if rights == "pkexec":
        raise LiveError("polkit asks only who sits at a machine: for another host use --rights sudo, or root@HOST")
    program = Path(live_helper.__file__).read_bytes()
    there = ["sudo", "-n"] if rights == "sudo" else []
    there += ["python3", "-c", _BOOT.format(size=len(program)), *(["--actions"] if actions else [])]
    ssh = shlex.split(os.environ.get("MEMVIZ_SSH", "ssh -T -o ConnectTimeout=10"))
    return Helper([*ssh, host, shlex.join(there)], _PATIENCE_S, program, host)

"""The command line: finds the command, turns every error into one line on stderr and an exit code.

Exit 0: done. 1: it failed. 2: what was asked for makes no sense (usage, bad input).
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, Final

import click

from memviz import __version__
from memviz.kernel.smp import KernelBug
from memviz.resources import ResourceError
from memviz.scenario import ScenarioError
from memviz.sources.base import SourceError

_COMMANDS: Final = {
    "compare": "memviz.cli.compare",
    "experiment": "memviz.cli.experiment",
    "export": "memviz.cli.export",
    "import": "memviz.cli.importing",
    "info": "memviz.cli.info",
    "list": "memviz.cli.scenarios",
    "open": "memviz.cli.open",
    "play": "memviz.cli.play",
    "record": "memviz.cli.record",
    "report": "memviz.cli.report",
    "run": "memviz.cli.run",
}
_OWN_OPTIONS: Final = ("--help", "--version")

_HELP: Final = """See why a kernel cannot find contiguous memory, and what making objects movable buys.

\b
memviz [SCENARIO]         open the window on a scenario (short for: memviz open SCENARIO)
memviz run SCENARIO       run a scenario without a window and report
memviz experiment SPEC    compare policies over many seeds
memviz play FILE          play a recording, or go on from it; also: memviz info FILE, memviz export FILE
memviz COMMAND --help     more about a command

Example: memviz aged-file-server --seed 7
"""


class _Commands(click.Group):
    """Commands are loaded when they are asked for; what is no command is the name of a scenario to open."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in _COMMANDS and args[0] not in _OWN_OPTIONS):
            args = ["open", *args]
        return super().parse_args(ctx, args)


@click.command(cls=_Commands, help=_HELP, context_settings={"help_option_names": ["--help"]})
@click.version_option(__version__, prog_name="memviz", message="%(prog)s %(version)s")
def command() -> None:
    """The root of all commands."""


def main(arguments: list[str] | None = None) -> None:
    """Run memviz and exit. Every error is one line on stderr; with MEMVIZ_DEBUG=1 its traceback comes first."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    try:
        code: Any = command.main(arguments, prog_name="memviz", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        hint = f" (see: {error.ctx.command_path} --help)" if error.ctx is not None else ""
        return _say(error.format_message().rstrip(".") + hint, 2)
    except click.ClickException as error:
        return _say(error.format_message(), error.exit_code)
    except (SourceError, ScenarioError) as error:
        return _say(str(error), 2)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KernelBug, ResourceError) as error:
        return _say(str(error), 1)
    except OSError as error:
        return _say(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except Exception as error:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _say(f"an error in memviz ({text}); run it again with MEMVIZ_DEBUG=1 and report what it prints", 1)


def _say(sentence: str, code: int) -> int:
    if os.environ.get("MEMVIZ_DEBUG"):
        traceback.print_exc()
    click.echo(f"memviz: {' '.join(sentence.split())}", err=True)
    return code


if __name__ == "__main__":
    main()

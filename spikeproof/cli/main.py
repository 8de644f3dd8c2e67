"""How does a command line become a call? Its words are understood first; a mistake ends it with a message."""

import sys
from typing import Any

from spikeproof.choices import Advice, UserError, nearest
from spikeproof.cli import commands
from spikeproof.cli.helping import help_for
from spikeproof.cli.parsing import Command, sorted_words, understood
from spikeproof.cli.tables import console, fail, say
from spikeproof.distributed import is_said, speaks_first
from spikeproof.shortage import lacks_memory
from spikeproof.untrusted.words import brief, told

COMMANDS: dict[str, Command] = {
    "demo": commands.demo,
    "train": commands.train,
    "convert": commands.convert,
    "evaluate": commands.evaluate,
    "certify": commands.certify,
    "probe": commands.probe,
    "energy": commands.energy,
    "compare": commands.compare,
    "export": commands.export,
    "report": commands.report,
    "leaderboard": commands.leaderboard,
    "zoo": commands.zoo,
    "configs": commands.configs,
    "list": commands.list_names,
    "doctor": commands.doctor,
}
TOGETHER = ("demo", "train", "evaluate", "certify", "compare")  # what ranks do together; all else rank 0 does alone


def main(arguments: list[str] | None = None) -> None:
    """The command ``spikeproof``. A user's mistake ends it with a message and exit status 2, never a traceback."""
    try:
        run(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        if is_said(str(error)):
            sys.exit(2)
        fail(str(error), whole=isinstance(error, Advice))
    except OSError as error:
        fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except RecursionError:
        fail("what was given is nested too deeply")
    except (RuntimeError, MemoryError) as error:
        if not lacks_memory(error):
            raise
        said = brief(" ".join(str(error).split()))
        fail(f"the memory is full ({said}): take a smaller batch or network, or fewer images")
    except KeyboardInterrupt:
        console.print("\nstopped; the same command goes on from here")
        sys.exit(130)


def run(arguments: list[str]) -> None:
    """Do what a command line asks for: run a command, or say how."""
    name, *rest = arguments
    if name not in TOGETHER and not speaks_first():
        return
    if "--help" in rest or "-h" in rest:
        say(help_for(name, command_named(name), [word for word in rest if word not in ("--help", "-h")]))
    else:
        command_named(name)(**options_in(arguments))


def options_in(arguments: list[str]) -> dict[str, Any]:
    """The arguments that the function of the command is called with; raises `UserError` for whatever is wrong."""
    name, *rest = arguments
    command = command_named(name)
    return understood(name, command, sorted_words(name, command, rest))


def command_named(name: str) -> Command:
    """The function of that command."""
    if name not in COMMANDS:
        raise UserError(f"there is no command {told(name)}; {nearest(name, COMMANDS)}")
    return COMMANDS[name]

"""The command ``spikeproof``, and ``python -m spikeproof``. Which commands there are is said without loading torch."""

import inspect
import os
import sys

import spikeproof

COMMANDS = {
    "demo": "Train five small networks on digits, attack them, and write a report",
    "train": "Train one network.",
    "convert": "Make a spiking network from the ANN of a run, and fine-tune it.",
    "evaluate": "Attack trained networks, and write the verdicts into their run folders.",
    "certify": "Prove radii that no attack can break, and write them into the run folders of trained networks.",
    "probe": "Look inside trained networks",
    "energy": "Count the operations of trained networks, and how far an attack raises them.",
    "compare": "Train every configuration, attack all in the same way, and write one report.",
    "export": "Write the network of a run as a NIR graph, for another library or for hardware.",
    "report": "Write a report from run folders",
    "leaderboard": "Write leaderboards, a page a protocol, from run folders and reports in JSON.",
    "zoo": "List the trained networks that can be taken, take some, or make an index of run folders.",
    "configs": "List the configurations and suites that come with spikeproof, or copy some.",
    "list": "Everything that a configuration can name.",
    "doctor": "Check this installation",
}


def main(arguments: list[str] | None = None) -> None:
    """Say what there is to do, or do it."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] not in ("--help", "-h", "--version"):
        from spikeproof.process import prepare

        prepare()
        from spikeproof.cli import main as run

        return run(words)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several of these
        say(spikeproof.__version__ if words[:1] == ["--version"] else overview())


def say(text: str) -> None:
    """Print it, as far as anybody reads: `head` may have had enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def overview() -> str:
    """The commands, a line each."""
    about, lines = inspect.getdoc(spikeproof) or "", [f"  {name:11} {said}" for name, said in COMMANDS.items()]
    usage, more = "spikeproof COMMAND [--option value ...]", "spikeproof COMMAND --help"
    return "\n".join([usage, "", about, "", *lines, "", more])


if __name__ == "__main__":
    main()

"""The command line: `python -m benchmarks.campaigns [--only NAME] [--trials N] [--minutes M] [--out FILE]`.

It goes on where it was stopped: what `--out` holds already is not tried again.
"""

import argparse
import time
import warnings
from pathlib import Path

import torch

from benchmarks.campaigns import budgets, damages, kills
from benchmarks.campaigns.journal import Journal

CAMPAIGNS = {"kills": (kills.campaign, 100), "damages": (damages.campaign, 1000), "budgets": (budgets.campaign, 1000)}
FINE = ("as before", "all synced", "refused", "the same", "plausible, no checksum", "inside", "no threat that it knows")


def main(arguments: list[str] | None = None) -> int:
    """Runs the campaigns that were chosen, prints what they have found, and returns 1 where something failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaigns", description=__doc__)
    parser.add_argument("--only", choices=CAMPAIGNS, action="append", help="this campaign, and others that are named")
    parser.add_argument("--trials", type=int, help="for each command, format or attack (100, 1000 and 1000)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time; it can be gone on")
    parser.add_argument("--out", type=Path, default=Path("docs/campaigns.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a fork of a process with threads may wait for ever
    warnings.filterwarnings("ignore")
    journal, end = Journal(options.out), time.monotonic() + 60 * options.minutes
    for name, (campaign, usual) in CAMPAIGNS.items():
        if name in (options.only or CAMPAIGNS):
            campaign(journal, options.trials or usual, lambda: time.monotonic() > end)
    journal.write()
    for name, tally in journal.tallies.items():
        print(f"{name}: {tally.trials} of {tally.planned} trials: {dict(tally.ends)}")
    return int(any(set(tally.ends) - set(FINE) for tally in journal.tallies.values()))


if __name__ == "__main__":
    raise SystemExit(main())

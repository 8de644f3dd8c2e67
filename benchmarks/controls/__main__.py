"""The command line: `python -m benchmarks.controls [--only NAME] [--costs ROUNDS] [--out FILE]`.

Every control is judged under the suite `standard`; with --costs an evaluation with flags is timed beside one without.
What is found goes into the JSON file and into the page beside it. It goes on where it was stopped: a control that the
file has, of the same suite, is not judged again, and networks that were trained lie under --folder.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks.controls.costs import SUITES, priced
from benchmarks.controls.judging import IMAGES, SUITE, asked, row
from benchmarks.controls.page import page
from spikeproof.controls import CONTROLS, THREAT, Trained
from spikeproof.runs import environment, written_whole
from spikeproof.runs.json_forms import as_json


def main(arguments: list[str] | None = None) -> int:
    """Judges the controls that are missing, writes both files after each, and returns 1 where one is judged wrongly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.controls", description=__doc__)
    parser.add_argument("--only", action="append", help="the control of this name, and others that are named")
    parser.add_argument("--costs", type=int, metavar="ROUNDS", help="instead: what flags cost, in so many pairs")
    parser.add_argument("--folder", type=Path, default=Path("runs/controls"), help="for the trained networks")
    parser.add_argument("--out", type=Path, default=Path("docs/controls.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    trained, record = Trained(options.folder, "cpu"), begun(options.out)
    if options.costs:
        network = trained.plain()
        for suite in SUITES:
            record["costs"][suite] = priced(network, suite, options.costs)
            print(suite, json.dumps(record["costs"][suite]["ratio"]), flush=True)
    else:
        for control in CONTROLS:
            kept = record["controls"].get(control.name, {}).get("asked") == asked()
            if kept or control.name not in (options.only or [control.name]):
                continue
            found = record["controls"][control.name] = row(control, trained)
            print(f"{'right' if found['right'] else 'WRONG'}: {control.name}, {found['seconds']:.0f} s", flush=True)
            written(options.out, record)
    written(options.out, record)
    return int(not all(each["right"] for each in record["controls"].values()))


def begun(out: Path) -> dict[str, Any]:
    """What the file holds already."""
    record = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"controls": {}, "costs": {}}
    about = {"made_by": "python -m benchmarks.controls", "suite": SUITE, "images": IMAGES, "threat": str(THREAT)}
    return about | {"environment": as_json(environment())} | record | about


def written(out: Path, record: dict[str, Any]) -> None:
    """Both files, each whole; of the controls those that there are, in their order, with the flags for each."""
    found = record["controls"]
    record["controls"] = {c.name: found[c.name] | {"for_it": list(c.flags)} for c in CONTROLS if c.name in found}
    texts = {out: json.dumps(record, indent=1) + "\n", out.with_suffix(".md"): page(record)}
    for path, text in texts.items():
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())

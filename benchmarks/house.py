"""How large is the house, and how far does a reader walk in it?

    python -m benchmarks.house            # files and functions of this checkout
    python -m benchmarks.house --walk     # the files that one image passes in `evaluate`, in order
    python -m benchmarks.house FOLDER     # files and functions of another folder of code

A walk has a stop wherever a function is called for the first time and lies in another file than the one before it.
Functions below four lines are not walked to: their names say it all. A return is a stop in a file that was seen before.
A climb leads to a room that, by its rank, is nearer to the caller.
"""

import ast
import functools
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import spikeproof

HERE = Path(spikeproof.__file__).parent
SHORT = 4  # lines of a function's body that are worth a walk
# Rooms from the caller down: a step to the left in this list climbs.
RANKS = ("evaluation", "runs", "attacks", "calling", "snn", "data", "randomness", "configs", "choices", "fitting")


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """The length in lines and the name of every function in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.end_lineno:
            yield node.end_lineno - node.lineno + 1, f"{path.name}: {node.name}"


def sizes(folder: Path) -> str:
    """Lines, files and functions of all Python files below `folder`."""
    files = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")}
    most, longest = max((lines, path.relative_to(folder).as_posix()) for path, lines in files.items())
    of_functions = [found for path in files for found in functions(path)]
    lengths = sorted(length for length, _ in of_functions)
    return (
        f"{sum(files.values())} lines in {len(files)} files, median {statistics.median(files.values()):g}, the longest "
        f"{longest} with {most}; {len(lengths)} functions, median {statistics.median(lengths):g}, 95 % up to "
        f"{lengths[len(lengths) * 95 // 100]}, the longest {max(of_functions)[1]} with {max(lengths)}"
    )


def first_calls(work: Callable[[], object], folder: Path) -> list[tuple[str, str]]:
    """The file and name of every function below `folder` that `work` calls, in the order of their first calls."""
    seen: dict[tuple[str, str], None] = {}

    def called(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        name = frame.f_code.co_qualname
        if event == "call" and folder in path.parents and name in long_ones(path):
            seen.setdefault((path.relative_to(folder).as_posix(), name))

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return list(seen)


@functools.cache
def long_ones(path: Path) -> set[str]:
    """The qualified names of the functions in a file that have at least `SHORT` lines, their docstrings aside."""
    found = set()

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.ClassDef):
                inner = f"{prefix}{child.name}."
            if isinstance(child, ast.FunctionDef):
                inner = f"{prefix}{child.name}.<locals>."
                if body_lines(child) >= SHORT:
                    found.add(prefix + child.name)
            visit(child, inner)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def body_lines(function: ast.FunctionDef) -> int:
    """The lines of a function's body, from the first statement on."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def walk(calls: list[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """The stops: a file each, and the functions that are met there for the first time."""
    stops: list[tuple[str, list[str]]] = []
    for file, name in calls:
        if not stops or stops[-1][0] != file:
            stops.append((file, []))
        stops[-1][1].append(name)
    return stops


def counted(files: list[str]) -> tuple[int, int, int]:
    """Stops, climbs up, and returns to a file that was seen before."""
    climbs = sum(rank(after) < rank(before) for before, after in itertools.pairwise(files))
    return len(files), climbs, len(files) - len(set(files))


def rank(file: str) -> int:
    """How far the room of a file is from the caller."""
    room = file.partition("/")[0].removesuffix(".py")
    return RANKS.index(room) if room in RANKS else len(RANKS)


def one_image() -> Callable[[], object]:
    """An evaluation of one image of the digits by PGD, ready to run."""
    import torch

    import spikeproof as sp

    torch.set_num_threads(1)
    data = sp.Digits()
    network = sp.Network(architecture=sp.SmallCNN(widths=(4, 4, 4)), neuron=sp.LIF(), steps=2)
    model = network.build((1, 8, 8), 10, mean=data.mean, std=data.std, seed=0).eval()
    x, _ = data.part("test").batch(range(1))
    y = model(x).argmax(1)
    suite = sp.Suite(name="one", attacks=(sp.PGD(steps=2),))
    protocol = sp.Protocol(threats=sp.Linf(0.05), suite=suite)
    return lambda: sp.evaluate(model, (x, y), protocol)


def main(arguments: list[str]) -> None:
    if "--walk" not in arguments:
        print(sizes(Path(arguments[0]) if arguments else HERE))
        return
    stops = walk(first_calls(one_image(), HERE))
    for number, (file, names) in enumerate(stops, 1):
        print(f"{number:3} {file}: {', '.join(names)}")
    print("{} stops, {} climbs up, {} returns".format(*counted([file for file, _ in stops])))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Is a walk counted as its page says, and does one image pass the files that it should?"""

from pathlib import Path

from benchmarks.house import HERE, counted, first_calls, long_ones, one_image, sizes, walk


def test_stops_climbs_and_returns() -> None:
    files = ["evaluation/a.py", "attacks/b.py", "snn/c.py", "attacks/b.py", "evaluation/a.py", "evaluation/d.py"]
    assert counted(files) == (6, 2, 2)
    assert walk([("a", "f"), ("a", "g"), ("b", "h"), ("a", "i")]) == [("a", ["f", "g"]), ("b", ["h"]), ("a", ["i"])]


def test_short_functions_are_not_walked_to(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(
        'class Two:\n    def short(self):\n        """A\n        long\n        docstring."""\n        return 1\n\n'
        "    def long(self):\n        a = 1\n        a += 1\n        a += 1\n        return a\n"
    )
    assert long_ones(tmp_path / "two.py") == {"Two.long"}
    assert sizes(tmp_path).startswith("12 lines in 1 files, median 12, the longest two.py with 12; 2 functions")


def test_an_image_passes_the_judge_the_attack_and_the_network() -> None:
    files = [file for file, _ in walk(first_calls(one_image(), HERE))]
    passed = (
        "evaluation/judging.py",
        "attacks/attack.py",
        "attacks/engine.py",
        "attacks/pgd.py",
        "evaluation/ledger.py",
    )
    places = [files.index(file) for file in passed[:-1]]
    assert places == sorted(places)
    assert files.index("snn/network.py") < places[0] < len(files) - files[::-1].index(passed[-1])

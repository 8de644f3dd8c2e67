"""Is every page of the documentation on the site, and every public name in its reference?"""

import re
from pathlib import Path

import spikeproof.everything as everything

DOCS = Path(__file__).parents[1] / "docs"
INDEX = (DOCS / "index.md").read_text()


def listed() -> set[str]:
    """The pages that the trees of the index name."""
    trees = re.findall(r"```\{toctree\}\n(.*?)```", INDEX, re.DOTALL)
    lines = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    return {re.sub(r".*<(.*)>", r"\1", line) for line in lines}


def test_every_page_is_in_a_tree_once() -> None:
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert listed() | {"index"} == pages


def test_every_room_has_a_page_of_the_reference() -> None:
    for room in everything.ROOMS:
        page = DOCS / "reference" / f"{room.__name__.rpartition('.')[2]}.md"
        assert f".. automodule:: {room.__name__}\n   :members:" in page.read_text()


def test_what_the_site_takes_in_is_there() -> None:
    for page in DOCS.glob("*.md"):
        for name in re.findall(r"<!-- include (\S+) -->", page.read_text()):
            assert (DOCS.parent / name).read_text().startswith("# ")
        for notebook in re.findall(r"```\{notebook\} (\S+)", page.read_text()):
            assert (DOCS / notebook).is_file()


def test_no_record_names_a_folder_of_the_machine_that_made_it() -> None:
    """Whoever reads a command wants to type it."""
    for record in (*DOCS.glob("*.json"), *(DOCS.parent / "results").glob("*.json")):
        assert not re.findall(r"[ \"'](?:/tmp|/home|/root|/work|/Users)/\S+", record.read_text()), record.name

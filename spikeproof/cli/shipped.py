"""Which configurations and suites come with spikeproof? Those of the folder ``shipped``, by name: digits/trades."""

from collections.abc import Iterator
from pathlib import Path

from spikeproof.choices import UserError, nearest
from spikeproof.untrusted.words import told

SHIPPED = Path(__file__).parents[1] / "shipped"
SUITES = "suites"  # the folder of suites; all others hold configurations
YAML = (".yaml", ".yml")


def names() -> list[str]:
    """Every name, folder/file, in order."""
    return sorted(file.relative_to(SHIPPED).with_suffix("").as_posix() for file in SHIPPED.glob("*/*.yaml"))


def file_of(path: Path, what: str) -> Path:
    """The file `path`, or the one of that name that comes with spikeproof; raises `UserError` where neither is."""
    if path.is_file():
        return path
    name = path.with_suffix("").as_posix() if path.suffix in YAML else path.as_posix()
    if name in names():
        return SHIPPED / f"{name}.yaml"
    hint = nearest(name, names())
    hint = hint if hint.startswith("did you mean") else "spikeproof configs lists those that come with it"
    raise UserError(f"there is no {what} file {path}; {hint}")


def files_of(paths: list[Path]) -> list[Path]:
    """The configuration files that `paths` name: files and folders, and those that come with spikeproof, by name."""
    return [file for path in paths for file in _files_of(path)]


def _files_of(path: Path) -> Iterator[Path]:
    ours = SHIPPED / path
    folder = path if path.is_dir() else ours if path.as_posix() in _folders() else None
    if folder is None:
        yield file_of(path, "configuration")
        return
    if not holds_configurations(folder):
        raise UserError(f"the folder {told(str(path))} holds no configuration: a .yaml file")
    yield from _yaml_in(folder)


def holds_configurations(folder: Path) -> bool:
    """Whether YAML files lie in it, and so it is no folder of data."""
    return bool(_yaml_in(folder))


def _yaml_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in YAML)


def _folders() -> list[str]:
    return [folder.name for folder in SHIPPED.iterdir() if folder.is_dir() and folder.name != SUITES]


def first_comment(name: str) -> str:
    """What a file says about itself, in one line."""
    lines = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    said = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return next((line for line in said if not line.startswith("spikeproof ")), "")

"""What do YAML files set? Recipes and suites, read and checked."""

import re
from pathlib import Path
from typing import Any, TypeVar

from spikeproof.choices import UserError, fields_of, nearest
from spikeproof.cli.shipped import SUITES, YAML, file_of, files_of, holds_configurations, names
from spikeproof.configs import from_config
from spikeproof.data import Sensor, data_in
from spikeproof.evaluation import Protocol, Suite, suite_named
from spikeproof.training import Recipe, usual_recipes
from spikeproof.untrusted.settings import MOST, yaml_in
from spikeproof.untrusted.texts import Unreadable, text_of
from spikeproof.untrusted.words import told

T = TypeVar("T")


def recipe_in(path: Path, *, trust: bool = False) -> Recipe:
    """The recipe in a YAML file; raises `UserError` naming the file and what is wrong in it."""
    return _choice_in(path, Recipe, "configuration", trust)


def recipes_of(
    paths: list[Path], size: int | None, sensor: str | None, data_root: Path | None, trust: bool
) -> tuple[list[Recipe], Path | None]:
    """The recipes in YAML files, or the usual ones for data in a folder or a .npz file; and the root of the data.

    A folder that holds YAML files is one of configurations.
    """
    data = [path for path in paths if path.suffix == ".npz" or (path.is_dir() and not holds_configurations(path))]
    if not data:
        if size or sensor:
            raise UserError("--size and --sensor are of data in a folder; a configuration says them in data")
        return [recipe_in(path, trust=trust) for path in files_of(paths)], data_root
    if len(paths) > 1:
        raise UserError(f"{data[0]} holds data, and stands alone: configurations name their data themselves")
    if (data[0] / "run.json").is_file():
        raise UserError(f"{data[0]} is a run folder: evaluate and report take those")
    found, root = data_in(data[0], size=size, sensor=_sensor(sensor))
    return usual_recipes(found), root


def _sensor(text: str | None) -> Sensor | None:
    if text is None:
        return None
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if sides is None:
        raise UserError(f"--sensor is height x width in pixels, 34x34 for example, not {told(text)}")
    return Sensor(height=int(sides[1]), width=int(sides[2]))


def suite_of(name: str, *, trust: bool = False) -> Suite:
    """The suite of that name, or the one in a YAML file, which may be one that comes with spikeproof."""
    shipped = f"{SUITES}/{name.removeprefix(f'{SUITES}/')}"
    if Path(name).suffix not in YAML and shipped not in names():
        return suite_named(name)
    return _choice_in(Path(shipped if shipped in names() else name), Suite, "suite", trust)


def protocol_in(path: Path, *, trust: bool = False) -> Protocol:
    """The protocol in a YAML file; its `suite` may be the name of one of spikeproof's."""
    fields = fields_in(path, Protocol, "protocol")
    if isinstance(name := fields.get("suite"), str):
        try:
            fields["suite"] = suite_of(name, trust=trust)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    return _made(path, fields, Protocol, trust)


def _choice_in(path: Path, kind: type[T], what: str, trust: bool) -> T:
    return _made(path, fields_in(path, kind, what), kind, trust)


def _made(path: Path, fields: dict[str, Any], kind: type[T], trust: bool) -> T:
    try:
        choice: T = from_config({"init_args": fields}, kind, trust=trust)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return choice


def fields_in(path: Path, kind: type, what: str) -> dict[str, Any]:
    """What a YAML file sets, its keys checked."""
    path = file_of(path, what)
    try:
        fields = yaml_in(text_of(path, MOST))
    except Unreadable as error:
        raise UserError(f"{path} {error}") from error
    if not isinstance(fields, dict) or not fields:
        raise UserError(f"{path} holds no settings: a {what} is a mapping such as '{next(iter(fields_of(kind)))}: ...'")
    for key in fields:
        if key not in fields_of(kind):
            raise UserError(f"{path}: {kind.__name__} has no field {told(key)}; {nearest(str(key), fields_of(kind))}")
    return fields

"""How is YAML read that a stranger may have written? Within the limits of JSON, and no longer than a second."""

import re
from typing import Any

import yaml

from spikeproof.untrusted.texts import DEPTH, Unreadable, within_limits

MOST = 256 << 10  # letters: PyYAML takes about a second for so many


class Loader(yaml.SafeLoader):
    """YAML, with numbers such as 1e-3, which are texts to PyYAML.

    It stops where it is nested too deep: PyYAML would go on to Python's limit, by a time that grows with the square.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH + 2:  # a name or value, in what `within_limits` finds one too deep
            raise Unreadable(f"is nested more than {DEPTH} deep")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


Loader.yaml_implicit_resolvers = {key: list(those) for key, those in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def yaml_in(text: str) -> Any:
    """The content of YAML, plain types alone; raises `Unreadable` in one line."""
    if len(text) > MOST:
        raise Unreadable(f"has more than {MOST:,} letters")
    try:
        found = yaml.load(text, Loader)
    except Unreadable:
        raise
    except yaml.YAMLError as error:
        raise Unreadable(f"is no YAML: {' '.join(str(error).split())}") from error
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:  # of its constructors
        raise Unreadable(f"holds a value that is not of its tag ({type(error).__name__})") from error
    return within_limits(found)

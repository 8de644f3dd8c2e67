"""How does a matplotlib figure become inline SVG that follows the page's colours, light, dark or printed?"""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES = 10
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")  # filled, and hollow from the eleventh network on
# Colours that stand for CSS values: matplotlib takes only real ones; they are exchanged in the finished SVG.
INK, RULE = "#010203", "#010204"


def series(index: int) -> str:
    """The stand-in for the page's colour number `index`; after the last one, the first follows."""
    return f"#0102{16 + index % SERIES:02x}"


_PAGE = {INK: "currentColor", RULE: "var(--rule)"} | {series(i): f"var(--series-{i})" for i in range(SERIES)}
_PAINT = {INK: "#1b1d21", RULE: "#dddfe2"} | dict(
    zip(
        (series(i) for i in range(SERIES)),
        (
            *("#0072b2", "#d55e00", "#00916a", "#b8568c", "#a87200"),
            *("#2e8bc0", "#33363c", "#7a7400", "#7d4fb3", "#85888f"),
        ),
        strict=True,
    )
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def look(index: int) -> dict[str, Any]:
    """The line of network number `index`: colour and marker, which no two of the first twenty share."""
    hollow = index // SERIES % 2 == 1
    ink = series(index)
    return {
        "color": ink,
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 5,
        "fillstyle": "none" if hollow else "full",
        "linestyle": "--" if hollow else "-",
    }


def painted(plot: "Callable[[Figure], None]", *, size: tuple[float, float]) -> bytes:
    """The same drawing as a PNG, dark on white."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE | {"figure.facecolor": "white"}):
        figure = Figure(size, layout="constrained")
        plot(figure)
        for artist in figure.findobj():
            _paint(artist)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def _paint(artist: Any) -> None:
    """Real colours in the place of those that stand for CSS values."""
    from matplotlib.colors import to_hex

    for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
        get, put = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
        if get is None or put is None:
            continue
        value = get()
        value = value[0] if hasattr(value, "shape") and getattr(value, "ndim", 1) == 2 and len(value) else value
        try:
            real = _PAINT.get(to_hex(value))
        except (TypeError, ValueError):
            continue
        if real:
            put(real)


def drawn(
    plot: "Callable[[Figure], None]", *, size: tuple[float, float], key: str, title: str, description: str
) -> Markup:
    """The SVG that `plot` draws on a figure of `size` inches.

    `key` is unique on the page and keeps the drawing's ids apart; `title` and `description` are read aloud.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": key}):
        figure = Figure(size, layout="constrained")
        figure.patch.set_visible(False)
        plot(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    return _inlined(buffer.getvalue(), key, title, description)


def _inlined(svg: str, key: str, title: str, description: str) -> Markup:
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box
    for colour, value in _PAGE.items():
        body = body.replace(colour, value)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)  # as matplotlib 3.9 writes it
    body = re.sub(r" ?font-family: [^;\"]*;?| transform=\"rotate\(-0 [^\"]*\"", "", body)
    body = re.sub(r"<!--.*?-->|\s*(?=\n)|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    opening = (
        f'<svg class="figure" viewBox="{box[1]}" role="img" aria-labelledby="{key}-title {key}-description">'
        f'<title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-description">{escape(description)}</desc>'
    )
    return Markup(opening + _without_foreign_ids(body, key))


def _without_foreign_ids(body: str, key: str) -> str:
    """Ids that something in `body` points at get `key` before them; the others, alike in all drawings, go."""
    used = set(re.findall(r"#([\w.-]+)", body))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{key}-{match[1]}"' if match[1] in used else ""

    body = re.sub(r'\sid="([^"]+)"', renamed, body)
    return re.sub(r"(href=\"|url\()#", rf"\1#{key}-", body)

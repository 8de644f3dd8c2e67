"""How is a name printed that a stranger has given? Without what would move the cursor, and not too much of it."""

LINES, LETTERS = 3, 200  # of an error, and of what somebody else said in it
LONGEST = 1500  # letters of a line that lists what is known


def printable(text: str, lines: bool = False) -> str:
    r"""`text` with control characters written out, such as \x1b; of `lines` the ends of lines stay, and tabs."""
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def told(value: object) -> str:
    """A value that was given, as Python writes it, and not too much of it."""
    try:
        return printable(brief(repr(value)))
    except (ValueError, RecursionError):  # thousands of digits, or lists in lists
        return f"a {type(value).__name__} that is too long to show"


def short_error(message: str) -> str:
    """A message without control characters, in three lines at most, none of its words and lines too long."""
    lines = [printable(line) for line in message.splitlines()]
    lines = [" ".join(map(brief, line.split(" "))) for line in lines]
    lines = [brief(line, LONGEST) for line in lines]
    return "\n".join(
        lines if len(lines) <= LINES else [*lines[: LINES - 1], f"... and {len(lines) - LINES + 1} more lines"]
    )


def brief(text: str, most: int = LETTERS) -> str:
    """At most so many letters of `text`: where there are more, its beginning and its end."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"

"""How is a name printed that a stranger has given? Without what would move the cursor, and not too much of it."""

LINES, LETTERS = 3, 200  # of what somebody else said, in an error


def printable(text: str, lines: bool = False) -> str:
    r"""`text` with control characters written out, such as \x1b; of `lines` the ends of lines stay, and tabs."""
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def brief(text: str, most: int = LETTERS) -> str:
    """At most so many letters of `text`: where there are more, its beginning and its end."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"

"""What the demo prints: lines that stay, and on a terminal one at the bottom that does not."""

import os
import shutil
import sys

TERMINAL = sys.stdout.isatty() and os.environ.get("CI") != "true" and os.environ.get("TERM") != "dumb"
COLOURS = TERMINAL and not os.environ.get("NO_COLOR")
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "36"}


def styled(text: str, style: str | None) -> str:
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if COLOURS and style else text


def line(text: str = "", style: str | None = None) -> None:
    if TERMINAL:
        sys.stdout.write("\r\x1b[K")
    print(styled(text, style), flush=True)


def title(text: str) -> None:
    line()
    line(text, "bold")


def now(text: str) -> None:
    """What goes on at the moment; gone with the next line."""
    if TERMINAL:
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write("\r\x1b[K" + styled(text[:width], "dim"))
        sys.stdout.flush()


def table(rows: list[tuple[str, str, bool | None]]) -> None:
    """Rows of a name, a value, and whether it is as it must be (None: nothing is asked of it)."""
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    for name, value, good in rows:
        mark, style = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("", None)}[good]
        line(f"  {name:<{names}}  {value:>{values}}  {styled(mark, style)}".rstrip())

"""Lists of phrases as one pattern. Decides how such a list is written: so that each phrase can be read and mended."""

from __future__ import annotations

import re


def phrases(text: str) -> re.Pattern[str]:
    """Alternatives, one a line, as one pattern that ignores case.

    Each line is a regular expression; one that is indented further belongs to the line above, without a space between.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    depth = min(len(line) - len(line.lstrip()) for line in lines)
    joined = ["|" * (number > 0 and line[depth] != " ") + line.strip() for number, line in enumerate(lines)]
    return re.compile("".join(joined), re.IGNORECASE)

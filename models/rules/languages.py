"""Which languages a person is written to in, best first.

Decides what a language tag is (BCP 47, such as `pt-BR`) and in which order a mail's translations are looked for. Knows
no files.
"""

from __future__ import annotations

import re

_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?")


def language_tag(value: object) -> str | None:
    """The tag in its usual spelling (`pt_br` → `pt-BR`); None for what is no tag of language, script and region."""
    if not isinstance(value, str) or not _TAG.fullmatch(text := value.strip().replace("_", "-")):
        return None
    first, *others = text.split("-")
    return "-".join([first.lower(), *(one.title() if len(one) == 4 else one.upper() for one in others)])


def parents(tag: str | None) -> list[str]:
    """A language and those that it belongs to: `pt-BR` → [`pt-BR`, `pt`]; [] without one."""
    if tag is None:
        return []
    subtags = tag.split("-")
    return ["-".join(subtags[:count]) for count in range(len(subtags), 0, -1)]


def chain(wanted: object, default: str | None) -> list[str | None]:
    """The languages to look for, best first: the person's, the workspace's, and None for files without a suffix."""
    tags = [*parents(language_tag(wanted)), *parents(default)]
    return [*dict.fromkeys(tags), None]

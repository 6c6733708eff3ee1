"""`warmline schema scoring`: the JSON Schema of a file, for editors that complete and check it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from models.rules.schemas import Schema


def schema(
    file: Annotated[
        str, typer.Argument(help="scoring, lifecycle, team, openings, sequence, audience, mapping or warmline.")
    ],
) -> None:
    """The JSON Schema (draft 2020-12) of a file of the workspace; `docs/workspace.md` says how an editor uses it."""
    typer.echo(json.dumps(schema_named(file), indent=2, ensure_ascii=False))


def schema_named(name: str) -> Schema:
    """The schema that the word means. UsageError for another word."""
    from models.documents import did_you_mean
    from models.rules.schemas import MODELS, schema_of
    from models.settings import SECRETS, Settings

    models: dict[str, tuple[str, type[BaseModel]]] = {**MODELS, "warmline": ("warmline.yaml", Settings)}
    if name not in models:
        raise UsageError(f"schema: found {name!r}{did_you_mean(name, models)}; allowed: {', '.join(models)}")
    file, model = models[name]
    made = schema_of(name, model, file)
    if model is Settings:
        for place in SECRETS.values():
            _without(made, place)
    return made


def _without(schema: dict[str, Any], place: tuple[str, ...]) -> None:
    """Take a field away: a secret never stands in the file."""
    *groups, field = place
    for group in groups:
        schema = schema["$defs"][group.capitalize()]
    schema["properties"].pop(field)

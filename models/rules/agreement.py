"""What files of a programme that are right one by one may still get wrong together.

Decides which names must agree across scoring.yaml, lifecycle.yaml, team.yaml and sequences/. Called by
`Workspace.check`, which knows the files; tells (location in the file, message).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from models.documents import did_you_mean
from models.rules.assignment import Team
from models.rules.conditions import Condition
from models.rules.lifecycle import Lifecycle
from models.rules.predicates import Predicate
from models.rules.scoring import ScoringModel
from models.rules.scoring.coherence import FIRST
from models.rules.scoring.doubts import total_parts, unreachable
from models.rules.scoring.reach import reach_of
from models.rules.sequences import Sequence

Place = tuple[str | int, ...]
Mistake = tuple[Place, str]


def cells_of(scoring: ScoringModel) -> list[str]:
    """Every cell of the model's grid, row by row; empty without a grid."""
    if scoring.grid is None:
        return []
    rows, columns = (
        [*(label for label, _ in axis.edges), axis.below] for axis in (scoring.grid.rows, scoring.grid.columns)
    )
    return [f"{row}{column}" for row in rows for column in columns]


def bands_of(scoring: ScoringModel) -> list[str]:
    """Every band of the model, highest first; empty without bands."""
    return [] if scoring.bands is None else [*(label for label, _ in scoring.bands.edges), scoring.bands.below]


def lifecycle_mistakes(lifecycle: Lifecycle, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    """Models, dimensions, bands, cells in lifecycle.yaml that there are not. `models`: that of scoring.yaml first."""
    for place, condition in lifecycle.conditions():
        yield from _condition_mistakes(place, condition, models)


def lifecycle_doubts(lifecycle: Lifecycle, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    """Thresholds in lifecycle.yaml that no lead can reach, with the arithmetic."""
    reaches = {name: reach_of(model) for name, model in models.items()}
    for place, condition in lifecycle.conditions():
        for part in condition.walk():
            name = next(iter(models)) if part.model is None else part.model
            model, reach = models[name], reaches[name]
            asked = [
                (bounds, subject, {subject: reach.dimensions[subject]}) for subject, bounds in part.dimension.items()
            ]
            if part.total is not None:
                asked.append((part.total, "total", total_parts(model, reach)))
            for bounds, subject, parts in asked:
                if said := unreachable(subject, bounds.floor or 0.0, subject, parts):
                    yield place, said


def enrolment_mistakes(sequence: Sequence, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    """Models, dimensions, bands and cells in a sequence's `enrol` and `exit` that there are not."""
    for block, condition in sequence.conditions():
        yield from _condition_mistakes((block,), condition, models)


def invitation_mistakes(sequence: Sequence, team: Team) -> Iterator[Mistake]:
    """Steps that carry an invitation where team.yaml proposes no appointments: nobody would ever enter."""
    for index, step in enumerate(sequence.steps):
        if step.invite and team.appointments is None:
            message = "team.yaml has no `appointments`: no time would be proposed to anybody, and nobody would enter"
            yield ("steps", index, "invite"), message


def _condition_mistakes(place: Place, condition: Condition, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    for part in condition.walk():
        if part.if_ is not None:
            yield from _unknown_first(place, part.if_)
        if part.model is not None and part.model not in models:
            yield from _unknown(place, "model", [part.model], models)
            continue
        scoring = next(iter(models.values())) if part.model is None else models[part.model]
        whose = "scoring.yaml" if part.model is None else f"the model {part.model!r}"
        yield from _unknown(place, "dimension", part.dimension, scoring.dimensions, whose)
        yield from _unknown(place, "band", part.band, bands_of(scoring), whose)
        yield from _unknown(place, "cell", part.grid, cells_of(scoring), whose)
        if part.surge is not None and scoring.surge is None:
            yield place, f"asks for a surge, but {whose} has no `surge`"


def team_mistakes(team: Team, scoring: ScoringModel) -> Iterator[Mistake]:
    """Bands and cells in team.yaml that the scoring model does not have."""
    for index, rep in enumerate(team.reps):
        for territory in rep.territories:
            yield from _unknown_first(("reps", index, "territories"), territory)
    wanted = team.senior_first
    yield from _unknown(("senior_first", "cells"), "cell", wanted.cells, cells_of(scoring))
    yield from _unknown(("senior_first", "bands"), "band", wanted.bands, bands_of(scoring))
    if wanted.surge and scoring.surge is None:
        yield ("senior_first", "surge"), "asks for a surge, but scoring.yaml has no `surge`"


def sequence_mistakes(file: str, sequence: Sequence, folders: Mapping[str, Iterable[str]]) -> Iterator[Mistake]:
    """A name that is not the file's; sends whose folder, or a part of it, is not in emails/.

    `folders`: folder of emails/ → the names of its files.
    """
    stem = PurePosixPath(file).stem
    if sequence.name != stem:
        yield ("name",), f"found {sequence.name!r}; allowed: {stem!r}, the file's own name"
    if sequence.consent is not None:
        yield from _unknown_first(("consent",), sequence.consent)
    for index, step in enumerate(sequence.steps):
        if step.send is None:
            continue
        if step.send not in folders:
            near = did_you_mean(step.send, folders)
            yield ("steps", index, "send"), f"emails/{step.send}/ is missing{near}"
        elif missing := sorted({"subject.txt.j2", "body.html.j2", "body.txt.j2"} - set(folders[step.send])):
            yield ("steps", index, "send"), f"emails/{step.send}/ has no {', '.join(missing)}"


def _unknown(
    place: Place, kind: str, names: Iterable[str], allowed: Iterable[str], whose: str = "scoring.yaml"
) -> Iterator[Mistake]:
    known = list(allowed)
    for name in names:
        if name not in known:
            what = ", ".join(known) if known else f"{whose} has no {kind}s"
            yield place, f"no {kind} is named {name!r}{did_you_mean(name, known)} (allowed: {what})"


def _unknown_first(place: Place, predicate: Predicate) -> Iterator[Mistake]:
    """Attributes of the original source that do not exist: they would be missing for every lead."""
    asked = sorted(name for name in predicate.attributes() if name.startswith("first."))
    yield from _unknown(place, "attribute", asked, FIRST)

"""What files of a programme that are right one by one may still get wrong together.

Decides which names must agree across scoring.yaml, lifecycle.yaml, team.yaml and sequences/. Called by
`Workspace.check`, which knows the files; tells (location in the file, message).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from models.documents import did_you_mean, shown
from models.rules.activity_types import CANONICAL, SCORE_ADJUSTED
from models.rules.conditions import Condition
from models.rules.consent import ConsentRules
from models.rules.lifecycle import Lifecycle
from models.rules.notices import OWNER
from models.rules.notification import SEQUENCE_NOTICE
from models.rules.openings import Openings
from models.rules.pacing import Pacing
from models.rules.predicates import Predicate
from models.rules.scoring import ScoringModel
from models.rules.scoring.coherence import FIRST
from models.rules.scoring.doubts import total_parts, unreachable
from models.rules.scoring.reach import reach_of
from models.rules.sequences import Sequence
from models.rules.team import Team

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
        yield from condition_mistakes(place, condition, models)


def lifecycle_doubts(lifecycle: Lifecycle, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    """Thresholds in lifecycle.yaml that no lead can reach, with the arithmetic; acts that nobody may ever do."""
    yield from _strange_acts(lifecycle, models.values())
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


def _strange_acts(lifecycle: Lifecycle, models: Iterable[ScoringModel]) -> Iterator[Mistake]:
    known = CANONICAL.union(*(rule.on or () for model in models for _, _, rule in model.rules()))
    for place, condition in lifecycle.conditions():
        for name in sorted({kind for question in condition.questions() for kind in question.on} - known):
            near = did_you_mean(name, known)
            yield place, f"asks for the act {name!r}, which no rule of a scoring model and no list of ours names{near}"


def enrolment_mistakes(sequence: Sequence, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    """Models, dimensions, bands and cells in a sequence's `enrol` and `exit` that there are not."""
    for place, condition in sequence.conditions():
        yield from condition_mistakes(place, condition, models)


def window_mistakes(sequence: Sequence, pacing: Pacing) -> Iterator[Mistake]:
    """A sequence's window that the quiet hours and holidays of warmline.yaml leave nothing of."""
    if sequence.window is not None and (why := pacing.times.within(sequence.window).never_opens()):
        yield ("window",), f"no mail would ever go out: {why} (warmline.yaml, `sending`)"


def invitation_mistakes(sequence: Sequence, team: Team) -> Iterator[Mistake]:
    """Steps that carry an invitation where team.yaml proposes no appointments: nobody would ever enter."""
    for node in sequence.nodes:
        if node.step.invite and team.appointments is None:
            message = "team.yaml has no `appointments`: no time would be proposed to anybody, and nobody would enter"
            yield (*node.place, "invite"), message


def condition_mistakes(place: Place, condition: Condition, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    """Models, dimensions, bands, cells and attributes in a condition that there are not."""
    for part in condition.walk():
        if part.if_ is not None:
            yield from _unknown_first(place, part.if_)
        if part.model is not None and part.model not in models:
            yield from unknown(place, "model", [part.model], models)
            continue
        scoring = next(iter(models.values())) if part.model is None else models[part.model]
        whose = "scoring.yaml" if part.model is None else f"the model {part.model!r}"
        yield from unknown(place, "dimension", part.dimension, scoring.dimensions, whose)
        yield from unknown(place, "band", part.band, bands_of(scoring), whose)
        yield from unknown(place, "cell", part.grid, cells_of(scoring), whose)
        if part.surge is not None and scoring.surge is None:
            yield place, f"asks for a surge, but {whose} has no `surge`"


def topic_mistakes(sequence: Sequence, rules: ConsentRules) -> Iterator[Mistake]:
    """A topic that warmline.yaml does not know: nobody could ever consent to it."""
    if sequence.topic is not None and (message := rules.mistake(sequence.topic)):
        yield ("topic",), f"{message} (topics of `consent:` in warmline.yaml)"


def experiment_mistakes(sequence: Sequence, others: Iterable[Sequence]) -> Iterator[Mistake]:
    """Experiments of one name: their results would run together. `others`: the sequences before this one."""
    taken = {test.name: f"the sequence {other.name}" for other in others for _, test in other.experiments}
    for place, test in sequence.experiments:
        if test.name in taken:
            yield (*place, "name"), f"found {shown(test.name)}, the name of an experiment of {taken[test.name]}"
        taken[test.name] = "this sequence"


def team_mistakes(team: Team, scoring: ScoringModel) -> Iterator[Mistake]:
    """Bands and cells in team.yaml that the scoring model does not have."""
    for index, rep in enumerate(team.reps):
        for territory in rep.territories:
            yield from _unknown_first(("reps", index, "territories"), territory)
    for index, pool in enumerate(team.pools):
        if pool.if_ is not None:
            yield from _unknown_first(("pools", index, "if"), pool.if_)
    wanted = team.senior_first
    yield from unknown(("senior_first", "cells"), "cell", wanted.cells, cells_of(scoring))
    yield from unknown(("senior_first", "bands"), "band", wanted.bands, bands_of(scoring))
    if wanted.surge and scoring.surge is None:
        yield ("senior_first", "surge"), "asks for a surge, but scoring.yaml has no `surge`"


def openings_mistakes(openings: Openings, scoring: ScoringModel) -> Iterator[Mistake]:
    """Bands and cells in openings.yaml that the scoring model does not have."""
    for index, one in enumerate(openings.openings):
        yield from unknown(("openings", index, "cell"), "cell", one.cell, cells_of(scoring))
        yield from unknown(("openings", index, "band"), "band", one.band, bands_of(scoring))


def sequence_mistakes(file: str, sequence: Sequence, folders: Mapping[str, Iterable[str]]) -> Iterator[Mistake]:
    """A name that is not the file's; sends whose folder, or a part of it, is not in emails/.

    `folders`: folder of emails/ → the names of its files.
    """
    stem = PurePosixPath(file).stem
    if sequence.name != stem:
        yield ("name",), f"found {sequence.name!r}; allowed: {stem!r}, the file's own name"
    if sequence.consent is not None:
        yield from _unknown_first(("consent",), sequence.consent)
    for place, folder in mails_of(sequence):
        if folder not in folders:
            yield place, f"emails/{folder}/ is missing{did_you_mean(folder, folders)}"
        elif missing := _missing_parts(folders[folder]):
            yield place, f"emails/{folder}/ has no {missing}"


def _missing_parts(files: Iterable[str]) -> str:
    """The parts that an e-mail must have and this one has in no language; a text part is made where there is none."""
    parts = {f"{name.partition('.')[0]}.{'.'.join(name.split('.')[-2:])}" for name in files}
    missing = [] if "subject.txt.j2" in parts else ["subject.txt.j2"]
    return ", ".join(
        missing if parts & {"body.mjml.j2", "body.html.j2"} else [*missing, "body.mjml.j2 or body.html.j2"]
    )


def mails_of(sequence: Sequence) -> Iterator[tuple[Place, str]]:
    """(place in the file, folder of emails/) of all that its steps send, to leads and to our own people."""
    for node in sequence.nodes:
        if node.step.send is not None:
            yield (*node.place, "send"), node.step.send
        elif (test := node.step.experiment) is not None:
            for index, variant in enumerate(test.variants):
                yield (*node.place, "experiment", "variants", index, "send"), variant.send
        elif (notify := node.step.notify) is not None and notify.template != SEQUENCE_NOTICE:
            yield (*node.place, "notify", "template"), notify.template


def step_mistakes(
    sequence: Sequence, sequences: Collection[str], team: Team | None, models: Iterable[ScoringModel]
) -> Iterator[Mistake]:
    """Steps that name a sequence or a person whom there is not, or adjust a score by what no rule gives points to."""
    rules = [rule for model in models for _, _, rule in model.rules() if rule.on and SCORE_ADJUSTED in rule.on]
    reps = [] if team is None else team.reps
    for node in sequence.nodes:
        step = node.step
        if step.enrol is not None:
            yield from unknown((*node.place, "enrol"), "sequence", [step.enrol], sequences, "sequences/")
        if step.adjust is not None:
            about = {"type": SCORE_ADJUSTED, "name": step.adjust, "campaign": sequence.name}
            if not any(rule.where is None or rule.where.holds(about) for rule in rules):
                line = f"{{name: {step.adjust}, on: {SCORE_ADJUSTED}, where: {{name: {step.adjust}}}, points: …}}"
                yield (*node.place, "adjust"), f"no rule gives points to it; give a scoring model one: {line}"
        for who in step.notify.to if step.notify is not None and reps else ():
            if who != OWNER and "@" not in who and not any(rep.is_called(who) for rep in reps):
                known = [OWNER, *(rep.name for rep in reps)]
                yield from unknown((*node.place, "notify", "to"), "member of the team", [who], known, "team.yaml")


def unknown(
    place: Place, kind: str, names: Iterable[str], allowed: Iterable[str], whose: str = "scoring.yaml"
) -> Iterator[Mistake]:
    """Those of `names` that are not allowed. `whose`: where the names of this kind stand, for when there are none."""
    known = list(allowed)
    for name in names:
        if name not in known:
            what = ", ".join(known) if known else f"{whose} has no {kind}s"
            yield place, f"no {kind} is named {name!r}{did_you_mean(name, known)} (allowed: {what})"


def _unknown_first(place: Place, predicate: Predicate) -> Iterator[Mistake]:
    """Attributes of the original source that do not exist: they would be missing for every lead."""
    asked = sorted(name for name in predicate.attributes() if name.startswith("first."))
    yield from unknown(place, "attribute", asked, FIRST)

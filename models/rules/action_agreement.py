"""What the actions of lifecycle.yaml name, held against the other files: mistakes, and circles that they may turn in.

Decides which names must agree; models.rules.agreement does the same for everything else. Tells (place in
lifecycle.yaml, message).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from models.documents import did_you_mean
from models.rules.actions import MOST_A_DAY, Action, Effect
from models.rules.activity_types import SCORE_ADJUSTED
from models.rules.agreement import Mistake, Place, bands_of, cells_of, condition_mistakes, unknown
from models.rules.lifecycle import Lifecycle, Stage
from models.rules.notices import OWNER, Notify
from models.rules.notification import SEQUENCE_NOTICE
from models.rules.scoring import ScoringModel
from models.rules.scoring.model import Rule
from models.rules.team import Team


def action_mistakes(
    lifecycle: Lifecycle,
    models: Mapping[str, ScoringModel],
    sequences: Collection[str],
    team: Team | None,
    endpoints: Collection[str],
    folders: Collection[str],
) -> Iterator[Mistake]:
    """Names in `actions` that there are not, and scores adjusted by what no rule gives points to.

    `endpoints`: names under `webhooks` in warmline.yaml; `folders`: of emails/.
    """
    known = _Known(models, sequences, team, endpoints, folders)
    seen: dict[str, int] = {}
    for index, action in enumerate(lifecycle.actions):
        place: Place = ("actions", index)
        if action.name in seen:
            yield (
                (*place, "name"),
                f"found {action.name!r}, the name of action {seen[action.name] + 1}; each has its own",
            )
        seen.setdefault(action.name, index)
        yield from _crossed_mistakes((*place, action.side), action, models)
        if action.when is not None:
            yield from condition_mistakes((*place, "when"), action.when, models)
        for inner, effect in action.effects:
            yield from known.mistakes((*place, *inner), action, effect)


def _crossed_mistakes(place: Place, action: Action, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    crossed = action.crossed
    if crossed.of == "stage":
        yield from unknown((*place, "stage"), "stage", crossed.names, list(Stage), "the lifecycle")
        return
    if crossed.model is not None and crossed.model not in models:
        yield from unknown((*place, "model"), "model", [crossed.model], models)
        return
    model = next(iter(models.values())) if crossed.model is None else models[crossed.model]
    whose = "scoring.yaml" if crossed.model is None else f"the model {crossed.model!r}"
    if crossed.of == "band":
        yield from unknown((*place, "band"), "band", crossed.names, bands_of(model), whose)
    else:
        yield from unknown((*place, "grid"), "cell", crossed.names, cells_of(model), whose)


@dataclass(frozen=True)
class _Known:
    """What effects may name."""

    models: Mapping[str, ScoringModel]
    sequences: Collection[str]
    team: Team | None
    endpoints: Collection[str]
    folders: Collection[str]

    def mistakes(self, place: Place, action: Action, effect: Effect) -> Iterator[Mistake]:
        if effect.enrol is not None:
            yield from unknown((*place, "enrol"), "sequence", [effect.enrol], self.sequences, "sequences/")
        if effect.webhook is not None:
            yield from unknown((*place, "webhook"), "webhook", [effect.webhook], self.endpoints, "warmline.yaml")
        if effect.adjust is not None and not _rules(action, effect.adjust, self.models):
            line = f"{{name: {effect.adjust}, on: {SCORE_ADJUSTED}, where: {{name: {effect.adjust}}}, points: …}}"
            yield (*place, "adjust"), f"no rule gives points to it; give a scoring model one: {line}"
        if effect.notify is not None:
            yield from self._told((*place, "notify"), effect.notify)

    def _told(self, place: Place, notify: Notify) -> Iterator[Mistake]:
        reps = [] if self.team is None else self.team.reps
        names = [OWNER, *(rep.name for rep in reps)]
        for who in notify.to if reps else ():
            if who != OWNER and "@" not in who and not any(rep.is_called(who) for rep in reps):
                yield from unknown(place, "member of the team", [who], names, "team.yaml")
        if notify.template != SEQUENCE_NOTICE and notify.template not in self.folders:
            yield place, f"emails/{notify.template}/ is missing{did_you_mean(notify.template, self.folders)}"


def action_doubts(lifecycle: Lifecycle, models: Mapping[str, ScoringModel]) -> Iterator[Mistake]:
    """Adjustments of the very score that an action follows from, with nothing to end them: each may cause the next."""
    first = next(iter(models))
    for index, action in enumerate(lifecycle.actions):
        if action.at_most_every is not None:
            continue
        watched = first if action.crossed.of == "stage" else action.crossed.model or first
        for inner, effect in action.effects:
            endless = [
                rule
                for name, rule in _rules(action, effect.adjust, models)
                if name == watched and _calls_again(action, rule)
            ]
            if effect.adjust is not None and endless:
                yield (
                    ("actions", index, *inner, "adjust"),
                    f"changes the score of {watched!r}, from which this action follows, by {endless[0].points:+g} each "
                    f"time: it may call itself again and again ({MOST_A_DAY} times a day at most); give the action "
                    "`at_most_every`, or the rule `at_most`",
                )


def _calls_again(action: Action, rule: Rule) -> bool:
    """True if the rule takes a lead back over the line that it came over, without a limit to how often.

    Bands, cells and stages have no order here: coming in is taken for rising, leaving for falling.
    """
    if rule.at_most is not None or rule.limit is not None or not rule.points:
        return False
    return rule.points < 0 if action.on_enter is not None else rule.points > 0


def _rules(action: Action, adjust: str | None, models: Mapping[str, ScoringModel]) -> list[tuple[str, Rule]]:
    """(model, rule) of all that give points to this adjustment."""
    about = {"type": SCORE_ADJUSTED, "name": adjust, "campaign": action.name}
    return [
        (name, rule)
        for name, model in models.items()
        for _, _, rule in model.rules()
        if adjust is not None
        and rule.on
        and SCORE_ADJUSTED in rule.on
        and (rule.where is None or rule.where.holds(about))
    ]

"""The files of a programme as JSON Schema (draft 2020-12), so that editors complete and check them while one types.

Decides only what pydantic cannot see: short forms, predicates, and what fields mean in a line. The models themselves
decide what is refused in the end: a schema may let pass what they refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from models.rules.audiences import Audience
from models.rules.durations import DURATION_SCHEMA
from models.rules.hooks.settings import Provider
from models.rules.lifecycle import Lifecycle
from models.rules.mapping import Mapping
from models.rules.openings import Openings
from models.rules.predicates import MARK, OPERATORS, PARTS, RANGES
from models.rules.scoring.model import ScoringModel
from models.rules.sending_times import DAYS
from models.rules.sequences import Sequence
from models.rules.team import Team

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, tuple[str, type[BaseModel]]] = {
    "scoring": ("scoring.yaml and scoring/*.yaml", ScoringModel),
    "lifecycle": ("lifecycle.yaml", Lifecycle),
    "team": ("team.yaml", Team),
    "openings": ("openings.yaml", Openings),
    "sequence": ("sequences/*.yaml", Sequence),
    "audience": ("audiences/*.yaml", Audience),
    "mapping": ("mappings/*.yaml", Mapping),
}
"""Word of the command line → the files and their model."""

_ACTS: Schema = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    "description": "An activity type, or several.",
}
_SHORT: dict[str, Schema] = {
    "Did": _ACTS,
    "Question": _ACTS,
    "Notify": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
        "description": "Who gets it: owner, somebody of the team, or an address; the first who is found.",
    },
    "Again": DURATION_SCHEMA | {"description": "How long after its end a lead may enter once more."},
    "Goal": {"enum": ["clicked", "replied", "opened"], "description": "What counts as success, in one word."},
    "Hook": {
        "enum": sorted(set(Provider) - {Provider.GENERIC, Provider.SES}),
        "description": "The provider that sends; its secret comes from the environment.",
    },
    "Auth": {"enum": ["basic", "bearer", "standard"], "description": "How the sender proves who it is."},
    "Range": {"type": "number", "description": "The least number of points: short for {from: …}."},
    "Value": {"type": "string", "description": "A column, or a dotted path into a JSON record."},
    "EmailValue": {"type": "string", "description": "A column, or a dotted path into a JSON record."},
}
"""Definitions that may also be written in one word."""
_ONE_OR_MORE: dict[str, Schema] = {
    "band": {"type": ["string", "integer"]},
    "grid": {"type": ["string", "integer"]},
    **{name: {"$ref": "#/$defs/Window"} for name in ("window", "windows", "working_hours")},
    "waiting": {"type": "string"},
    "quiet_hours": {"$ref": "#/$defs/QuietHours"},
    **{name: {"type": "string"} for name in ("did", "format", "spread", "stage", "stages", "on", "to")},
    "days": {"enum": list(DAYS)},
}
"""Lists whose only element may stand alone."""
_MEANING = {
    (
        "ScoringModel",
        "of",
    ): "What is scored. An account pools the activities of its leads, a deal those of its contacts.",
    ("ScoringModel", "half_life"): "For activity rules that do not say otherwise; `none`: no decay.",
    ("ScoringModel", "facets"): "Activity properties that become part of a touchpoint and may be used in `where`.",
    ("ScoringModel", "must"): "Below these a lead can never become sales-qualified.",
    ("ScoringModel", "exclude"): "Never routed to sales or nurture; the reason is the name.",
    ("ScoringModel", "total"): "The dimensions whose points make the total; without it all.",
    ("ScoringModel", "bands"): "Label → least total; one label is `below`.",
    ("Rule", "on"): "Activity types. Without it the rule looks at attributes alone.",
    ("Rule", "where"): "A predicate on the touchpoint: type, name, host, path, campaign, …, and declared facets.",
    ("Rule", "if"): "A predicate on the attributes of the lead and its account.",
    ("Rule", "points"): "For each activity kept, decayed by the half-life; without `on` once, if `if` holds.",
    ("Rule", "tiers"): "Number of activities kept → points; the highest that is reached replaces the others.",
    ("Rule", "recency"): "Age of the newest activity kept → points; `older` for all above.",
    ("Rule", "at_most"): "Only the newest of these activities count.",
    ("Rule", "per_day"): "Only the newest of each calendar day count.",
    ("Rule", "within"): "Only activities younger than this count.",
    ("Rule", "half_life"): "The time in which an activity's points fall to one half; `none`: never.",
    ("Rule", "limit"): "Caps the absolute value of what the rule gives.",
    ("Group", "limit"): "Upper clamp of the sum of the rules.",
    ("Group", "floor"): "Lower clamp of the sum of the rules.",
    ("Dimension", "limit"): "Upper clamp of the sum of the groups.",
    ("Dimension", "floor"): "Lower clamp of the sum of the groups.",
    ("Surge", "gain"): "Points gained in the last `within`.",
    ("Surge", "slow"): "Points gained in the `after_quiet` before that, at most; without it a quarter of the gain.",
    ("Sequence", "alongside"): "It runs beside others: it neither waits for them nor ends them, nor they it.",
    ("Sequence", "consent"): "Who may be written to: asked on entering, at each step, and when a mail is sent.",
    ("Sequence", "again"): "Re-entry: `never`, or how long after the end.",
    ("Sequence", "changed"): "Those on their way under an older file: they finish it, move over, or stop.",
    ("Enrol", "existing"): "Whether leads are taken too who qualified already when the sequence was new.",
    ("Enrol", "by_step"): "Nobody enters by itself, only by the step `enrol` of another sequence, or by an action.",
    ("Exit", "did"): "Acts since entering that end it; a reply, a bounce and an opt-out always do.",
    ("Step", "id"): "Names the step for ever: jumps, messages and a file that changes go by it.",
    ("Step", "send"): "A folder of emails/.",
    ("Step", "invite"): "The mail carries the invitation to the appointment.",
    ("Step", "wait"): "A duration, from the moment the step is reached.",
    ("Step", "until"): "A time on the lead's own clock: weekdays, a time of day, or a date of the lead.",
    ("Step", "branch"): "The first way whose condition holds is taken; the last may be `else`.",
    ("Step", "experiment"): "One of several mails, by a stable share of the leads.",
    ("Step", "adjust"): "An activity `score_adjusted` of this name; a rule of a scoring model gives it points.",
    ("Step", "notify"): "A mail to our own people.",
    ("Step", "enrol"): "Another sequence that the lead enters; this one ends, unless one of the two runs alongside.",
    ("Step", "exit"): "The way ends here; the reason, in words.",
    ("Team", "working_hours"): "Of every rep who has none of their own; without it at all hours.",
    ("Team", "waiting"): "Who is told, once a day, that leads wait because no rep can take them.",
    ("Rep", "working_hours"): "On the rep's own clock; without it the team's.",
    ("Rep", "country"): "Where the rep keeps holidays.",
    ("Rep", "manager"): "Who is told when the rep does not answer: a rep, or an address.",
    ("Pool", "if"): "Leads for whom this holds; the first pool in the file that holds is theirs.",
    ("Pool", "order"): "`rotate`: shares by weight; `listed`: the first of `reps` who can take it.",
    ("Pool", "fallback"): "The pool that is asked where nobody of this one can take the lead.",
    ("NamedAccounts", "accounts"): "By the account's name, or its domain.",
    ("NamedAccounts", "to"): "A rep, or a pool.",
    ("Sla", "accept_within"): "Of the rep's working time; then the rep is reminded.",
    ("Sla", "after_reminder"): "Of working time after the reminder; then the lead is passed on.",
    ("Sla", "next_reps"): "So often it is passed on; then the manager is told.",
    ("Sla", "manager"): "Of whom has no manager of their own: a rep, or an address.",
    ("Audience", "who"): "Whom it means; suppression, consent and exclusions are respected whatever it says.",
    ("Audience", "topic"): "A topic of `consent` in warmline.yaml that nobody in it has withdrawn.",
    ("Audience", "require"): "What must have been said for the topic, where that is stricter than warmline.yaml.",
    ("Audience", "to"): "Where the flow send_webhooks tells it by itself; without it, only `warmline audience` does.",
    ("Action", "name"): "Names it for ever: what it has done is kept under it.",
    ("Action", "on_enter"): "What is come into: a stage, a band or a cell; several are one region.",
    ("Action", "on_leave"): "What is left: a stage, a band or a cell; several are one region.",
    ("Action", "when"): "What must hold of the lead at the run; otherwise `else` is done.",
    ("Action", "at_most_every"): "Crossings of one lead that come sooner are passed over.",
    ("Effect", "enrol"): "A sequence that the lead enters.",
    ("Effect", "adjust"): "An activity `score_adjusted` of this name; a rule of a scoring model gives it points.",
    ("Effect", "webhook"): "A name under `webhooks` in warmline.yaml.",
    ("Effect", "tag"): "A word that the lead's attribute `tags` holds from now on.",
    ("Effect", "untag"): "A word that is taken out of the lead's attribute `tags`.",
    ("Arm", "when"): "What must hold: conditions on score, attributes, stage and acts.",
    ("Arm", "go"): "The id of the step that comes next.",
    ("Arm", "at_most"): "How often one lead may be sent this way; needed where it leads back.",
    ("Arm", "else"): "What those do for whom no other way is open.",
    ("Until", "date"): "An attribute with a date, or `appointment`.",
    ("Until", "missing"): "What to do without such a date: skip the wait, or exit the sequence.",
    ("Question", "on"): "Activity types: one such act, by no suspected machine.",
    ("Question", "where"): "A predicate on the touchpoint: type, name, host, path, campaign, …, and declared facets.",
    ("Question", "within"): "Only acts younger than this.",
    ("Did", "since"): "Acts since the lead entered, or of its whole life.",
    ("Did", "mail"): "Acts about this mail of the sequence (a folder of emails/), or about `any` of them.",
    ("Opening", "on"): "Acts of the last two weeks; the newest of one of these types is what the sentence is about.",
    ("Opening", "where"): "A predicate on what the act was about: type, name, host, path, campaign.",
    ("Opening", "if"): "A predicate on the attributes of the lead and its account.",
    ("Opening", "again"): "Only for leads that were with sales before, or only for others.",
    ("Opening", "say"): "What to say; words in braces, such as {company}, are put in where they are known.",
    ("Digest", "at"): "The time of day, on the rep's own clock.",
    ("Hook", "provider"): "Who sends; without it anybody, by `mapping` and `auth`.",
    ("Hook", "mapping"): "The mapping by which records are read, if not the ready one.",
    ("Hook", "auth"): "How the sender proves who it is, if not in the provider's way.",
    ("Hook", "window"): "How old a signed time may be.",
    ("Hook", "topics"): "The SNS topics that are listened to.",
    ("Hook", "certificate"): "A file of the workspace with Amazon's certificate; without it, it is fetched.",
    ("Auth", "header"): "Where the signature or the token stands.",
    ("Auth", "prefix"): "What stands before it, such as `sha256=`.",
    ("Auth", "timestamp_field"): "Of the signature's header: `t` of `t=1492774577,v1=…`.",
    ("Auth", "signed"): "What is hashed, out of {body}, {timestamp}, {method} and {url}.",
    ("Display", "blocks"): "100 for each must that is met.",
    ("Display", "classes"): "Number → predicate; 1000 × the first that holds.",
}


def schema_of(name: str, model: type[BaseModel], file: str) -> Schema:
    """The schema of a file, complete in itself."""
    made = _referring(model.model_json_schema(by_alias=True))
    definitions: Schema = made.pop("$defs", {})
    top = model.__name__
    definitions[top] = made
    for key, schema in definitions.items():
        _describe(key, schema)
    for schema in definitions.values():
        for field, one in _ONE_OR_MORE.items():
            said = schema.get("properties", {}).get(field, {})
            if said.get("type") == "array" or any(part.get("type") == "array" for part in said.get("anyOf", ())):
                schema["properties"][field] = _also(said, one)
    for field in ("do", "else") if "Action" in definitions else ():
        fields = definitions["Action"]["properties"]
        fields[field] = _also(fields[field], {"$ref": "#/$defs/Effect"})
    for key, short in _SHORT.items():
        if key in definitions:
            definitions[key] = {"anyOf": [short, definitions[key]]}
    top_schema = definitions.pop(top)
    definitions.update(_predicates())
    whole = {"$schema": DIALECT, "$id": f"urn:warmline:{name}", **top_schema, "title": f"Warmline: {file}"}
    return whole | {"$defs": {key: value for key, value in definitions.items() if key in _used(whole, definitions)}}


def _referring(node: Any) -> Any:
    """The same with predicates as references to their one definition."""
    if isinstance(node, dict):
        if MARK in node:
            return {"$ref": "#/$defs/Predicate"}
        return {key: _referring(value) for key, value in node.items()}
    return [_referring(value) for value in node] if isinstance(node, list) else node


def _describe(key: str, schema: Schema) -> None:
    for field, said in schema.get("properties", {}).items():
        said.pop("title", None)
        if meaning := _MEANING.get((key, field)):
            said["description"] = meaning


def _also(schema: Schema, one: Schema) -> Schema:
    kept: Schema = {key: schema.pop(key) for key in ("default", "description") if key in schema}
    return {**kept, "anyOf": [one, schema]}


def _used(schema: Any, definitions: Schema) -> set[str]:
    """The definitions that the schema needs, through others or itself."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        for name in _references(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(definitions[name])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.removeprefix("#/$defs/")
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _predicates() -> Schema:
    """What stands where a model has a Predicate."""
    predicate, asked = {"$ref": "#/$defs/Predicate"}, {"$ref": "#/$defs/Asked"}
    texts = {"anyOf": [{"$ref": "#/$defs/Scalar"}, {"$ref": "#/$defs/Scalars"}]}
    several = {"type": "array", "items": predicate, "minItems": 1}
    bound = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*[+-]?[.0-9]"}]}
    operators: dict[str, Schema] = {
        **{name: bound | {"description": f"{sign} x: a number or a date"} for name, sign in _SIGNS.items()},
        **{name: texts | {"description": f"the text {name} this, or one of these"} for name in PARTS},
        "matches": texts | {"description": "a regular expression found anywhere, ignoring case"},
        "in_list": {"type": "string", "pattern": r"\S", "description": "a file beside the model, a value per line"},
        "is": {"enum": ["missing", "present"]},
        "not": asked,
    }
    assert set(operators) == set(OPERATORS)
    assert set(_SIGNS) == set(RANGES)
    return {
        "Predicate": {
            "description": "attribute → a value, a list (any of), or operators; all must hold",
            "type": "object",
            "minProperties": 1,
            "properties": {"any": several, "all": several, "not": predicate},
            "additionalProperties": asked,
        },
        "Asked": {"anyOf": [*texts["anyOf"], {"$ref": "#/$defs/Operators"}]},
        "Scalar": {"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "number"}, {"type": "boolean"}]},
        "Scalars": {"type": "array", "items": {"$ref": "#/$defs/Scalar"}, "minItems": 1},
        "Operators": {
            "type": "object",
            "minProperties": 1,
            "properties": operators,
            "additionalProperties": False,
        },
    }


_SIGNS = {"from": "≤", "to": "≥", "above": "<", "below": ">"}

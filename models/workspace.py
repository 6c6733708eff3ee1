"""A workspace: the folder of files in which a user keeps the programme, opened and checked.

Decides where each part of the programme stands (docs/workspace.md) and loads it when it is first asked for. Writes
nothing to the folder but the secret key; `warmline init` makes the rest.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from models import keys
from models.documents import ConfigurationError, Document, Location, Problem, did_you_mean, read_beside
from models.errors import UsageError
from models.settings import Settings, hook_secrets, load_settings

if TYPE_CHECKING:  # `warmline --help` and commands that need less must not pay for these imports
    from models.database import Database
    from models.rules.audiences import Audience
    from models.rules.conditions import Condition
    from models.rules.dkim import Key
    from models.rules.experiments import Experiment
    from models.rules.lifecycle import Lifecycle
    from models.rules.limits import Limits
    from models.rules.mail import MessageIds
    from models.rules.mapping import Mapping as ColumnMapping
    from models.rules.openings import Openings
    from models.rules.pacing import Pacing
    from models.rules.scoring import ScoringModel
    from models.rules.scoring.model import Subject
    from models.rules.sequences import Sequence
    from models.rules.team import Team
    from models.rules.tokens import Tokens

SETTINGS_FILE = "warmline.yaml"
SCORING_FILE, LIFECYCLE_FILE, TEAM_FILE = "scoring.yaml", "lifecycle.yaml", "team.yaml"
OPENINGS_FILE = "openings.yaml"
SCORING_FOLDER = "scoring"


class Workspace:
    """An opened workspace. Parts are loaded on first use; one with mistakes raises ConfigurationError with them all."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self.settings = settings

    @classmethod
    def open(cls, root: Path, overrides: Mapping[str, Any] | None = None) -> Workspace:
        """Open the folder `root`; `overrides` are the command line's settings, nested as in warmline.yaml."""
        path = root / SETTINGS_FILE
        if not path.is_file():
            raise UsageError(
                f"{root} is no workspace: it has no {SETTINGS_FILE}; make one with "
                f"`warmline init {root} --playbook mql-sql`, or name another folder with -w"
            )
        return cls(root.resolve(), load_settings(path, overrides))

    @classmethod
    def unsettled(cls, root: Path) -> Workspace:
        """The folder with the settings that stand when nothing is said: to look at its other files all the same."""
        return cls(root.resolve(), Settings.model_construct())

    def on(self, database: Database) -> Workspace:
        """The same programme on another database."""
        other = copy.copy(self)
        other.__dict__["database"] = database
        return other

    def stamp(self) -> tuple[tuple[str, int], ...]:
        """The files that what comes in is read by, each with when it was changed: another stamp, another programme."""
        found = [self.root / SETTINGS_FILE, self.root / SCORING_FILE]
        found += [*(self.root / SCORING_FOLDER).glob("*.yaml"), *(self.root / "mappings").glob("*.yaml")]
        return tuple(sorted((str(path), path.stat().st_mtime_ns) for path in found if path.is_file()))

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.settings.time_zone)

    @cached_property
    def database(self) -> Database:
        """The migrated database; a relative SQLite path counts from the workspace."""
        from models.database import Database

        url = self.settings.database_url
        if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
            url = f"sqlite:///{self.root / url.removeprefix('sqlite:///')}"
        password = self.settings.database_password
        opened = Database(url, password.get_secret_value() if password else None)
        opened.migrate()
        return opened

    @property
    def takes_mail_back(self) -> bool:
        """Whether the settings name a way by which mail comes back, or somebody who tells of it."""
        bounces, mailbox = self.settings.bounces, self.settings.mailbox
        is_told = any(hook.is_about_mail for hook in self.settings.hooks.values())
        return any((bounces.address, bounces.lmtp_port is not None, mailbox.host, is_told))

    def document(self, relative: str) -> Document:
        """A YAML file of the workspace by its relative path; ConfigurationError if it cannot be read."""
        path = self.root / relative
        try:
            return Document.parse(path.read_text(encoding="utf-8"), relative)
        except FileNotFoundError as error:
            raise ConfigurationError([Problem(relative, None, "", "missing; every workspace has one")]) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([Problem(relative, None, "", f"cannot be read: {error}")]) from error

    def read_text(self, relative: str) -> str:
        """The text of a file that another file of the workspace names. Raises OSError."""
        return read_beside(relative, self.root)

    @property
    def emails(self) -> Path:
        return self.root / "emails"

    @cached_property
    def scoring(self) -> ScoringModel:
        """scoring.yaml, with the lists that it names: the model that stages go by."""
        model = self._model(SCORING_FILE)
        if model.of != "lead":
            why = f"found {model.of!r}; scoring.yaml scores leads: other models stand in {SCORING_FOLDER}/"
            raise ConfigurationError([self.document(SCORING_FILE).problem(("of",), why)])
        return model

    @cached_property
    def models(self) -> dict[str, ScoringModel]:
        """Name → model: that of scoring.yaml first, then those of scoring/*.yaml in the order of their files."""
        found: dict[str, ScoringModel] = {}
        problems: list[Problem] = []
        where: dict[str, str] = {}
        for relative in (SCORING_FILE, *self.model_files()):
            try:
                model = self.scoring if relative == SCORING_FILE else self._model(relative)
            except ConfigurationError as error:
                problems += error.problems
                continue
            if model.name in found:
                why = f"found {model.name!r}, the name of {where[model.name]}; every model has a name of its own"
                problems.append(self.document(relative).problem(("name",), why))
            found[model.name], where[model.name] = model, relative
        if problems:
            raise ConfigurationError(problems)
        return found

    @cached_property
    def rated(self) -> dict[str, Subject]:
        """The models that a condition of lifecycle.yaml or of a sequence names → what they score."""
        from models.rules.conditions import further_models

        conditions: list[Condition] = [condition for _, condition in self.lifecycle.conditions()]
        conditions += [condition for one in self.sequences.values() for _, condition in one.conditions()]
        named = further_models(conditions)
        return {name: model.of for name, model in self.models.items() if name in named} if named else {}

    def model_files(self) -> list[str]:
        """The files of scoring/, relative to the workspace, sorted."""
        return self._files(SCORING_FOLDER)

    def _model(self, relative: str) -> ScoringModel:
        from models.rules.scoring import load_scoring

        folder = (self.root / relative).parent
        return load_scoring(self.document(relative), lambda name: read_beside(name, folder, self.root))

    @cached_property
    def lifecycle(self) -> Lifecycle:
        """lifecycle.yaml."""
        from models.rules.lifecycle import Lifecycle

        return Lifecycle.load(self.document(LIFECYCLE_FILE), self.read_text)

    @cached_property
    def watched(self) -> frozenset[str]:
        """The models from whose bands and cells an action of lifecycle.yaml follows."""
        from models.rules.actions import watched

        there = (self.root / LIFECYCLE_FILE).is_file()
        return watched(self.lifecycle.actions, self.scoring.name) if there else frozenset()

    @cached_property
    def team(self) -> Team:
        """team.yaml."""
        from models.rules.team import Team

        return Team.load(self.document(TEAM_FILE), self.read_text)

    @cached_property
    def openings(self) -> Openings:
        """openings.yaml; without the file what is said everywhere."""
        from models.rules.openings import DEFAULT, Openings

        if not (self.root / OPENINGS_FILE).is_file():
            return DEFAULT
        return Openings.load(self.document(OPENINGS_FILE), self.read_text)

    @cached_property
    def pacing(self) -> Pacing:
        """When nurture mail goes to whom: the block `sending` of warmline.yaml with the lists of holidays it names."""
        from models.rules.holidays import Holidays, read_list
        from models.rules.pacing import Pacing

        sending = self.settings.sending
        days, problems = Holidays(), list[Problem]()
        for relative in sending.lists:
            try:
                listed, mistakes = read_list(self.read_text(relative))
            except OSError as error:
                place = ("sending", "holidays", sending.holidays.index(relative))
                problems.append(self.document(SETTINGS_FILE).problem(place, f"found {relative!r}: {error}"))
                continue
            days |= listed
            problems += [Problem(relative, line, "", message) for line, message in mistakes]
        times = sending.times(days)
        if not problems and (why := times.never_opens()):
            why = f"no mail would ever go out: {why}"
            problems.append(self.document(SETTINGS_FILE).problem(("sending", "holidays"), why))
        if problems:
            raise ConfigurationError(problems)
        return Pacing(times, tuple(sending.caps), self.zone)

    @cached_property
    def sequences(self) -> dict[str, Sequence]:
        """Name → sequence, from every sequences/*.yaml in the order of their names; may be empty."""
        found, problems = {}, []
        for relative in self.sequence_files():
            try:
                sequence = self._sequence(relative)
            except ConfigurationError as error:
                problems += error.problems
                continue
            found[sequence.name] = sequence
        if problems:
            raise ConfigurationError(problems)
        return found

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """Name → experiment, of all sequences."""
        return {test.name: test for one in self.sequences.values() for _, test in one.experiments}

    @cached_property
    def audiences(self) -> dict[str, Audience]:
        """Name → audience, from every audiences/*.yaml; may be empty."""
        from models.rules.audiences import Audience, mistakes

        found, problems = {}, list[Problem]()
        for relative in self._files("audiences"):
            document = self.document(relative)
            try:
                one = found[PurePosixPath(relative).stem] = Audience.load(document, self.read_text)
            except ConfigurationError as error:
                problems += error.problems
                continue
            said = mistakes(one, self.models, self.settings.consent, self.settings.webhooks)
            problems += [document.problem(place, message) for place, message in said]
        if problems:
            raise ConfigurationError(problems)
        return found

    def sequence_files(self) -> list[str]:
        """The files of sequences/, relative to the workspace, sorted."""
        return self._files("sequences")

    def _files(self, folder: str) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in (self.root / folder).glob("*.yaml"))

    def _sequence(self, relative: str) -> Sequence:
        from models.rules.agreement import sequence_mistakes
        from models.rules.sequences import Sequence

        document = self.document(relative)
        sequence = Sequence.load(document, self.read_text)
        folders = {
            folder.relative_to(self.emails).as_posix(): [file.name for file in folder.iterdir()]
            for folder in self.emails.rglob("*")
            if folder.is_dir()
        }
        if mistakes := list(sequence_mistakes(relative, sequence, folders)):
            raise ConfigurationError(document.problem(place, message) for place, message in mistakes)
        return sequence

    def mapping(self, name: str) -> ColumnMapping:
        """mappings/NAME.yaml of the workspace, else the ready-made one of that name. UsageError without one."""
        from importlib import resources

        from models.rules.mapping import load_mapping

        own, ready = self.root / "mappings", resources.files("playbooks") / "mappings"
        if (own / f"{name}.yaml").is_file():
            return load_mapping(self.document(f"mappings/{name}.yaml"))
        file = ready / f"{name}.yaml"
        if "/" not in name and file.is_file():
            return load_mapping(Document.parse(file.read_text(encoding="utf-8"), f"playbooks/mappings/{name}.yaml"))
        known = {path.stem for path in own.glob("*.yaml")}
        known |= {path.name.removesuffix(".yaml") for path in ready.iterdir() if path.name.endswith(".yaml")}
        raise UsageError(f"mapping: found {name!r}{did_you_mean(name, known)}; allowed: {', '.join(sorted(known))}")

    def check(self) -> list[Problem]:
        """Every mistake of every file of the programme, and where files contradict each other; empty if all is well.

        Two files are held against each other wherever both can be read, whatever is wrong with a third.
        """
        parts: tuple[Callable[[], object], ...] = (
            lambda: self.models,
            lambda: self.lifecycle,
            lambda: self.team,
            lambda: self.openings,
            lambda: self.pacing,
            lambda: self.sequences,
            lambda: self.audiences,
            self._check_mappings,
            lambda: self.secret_key,
            lambda: self.tokens,
            lambda: self.dkim_keys,
            lambda: self.webhook_keys,
            lambda: self.hook_secrets,
        )
        problems: list[Problem] = []
        for load in parts:
            try:
                load()
            except ConfigurationError as error:
                problems += error.problems
        return problems + list(self._contradictions())

    def _contradictions(self) -> Iterator[Problem]:
        from models.rules.agreement import (
            enrolment_mistakes,
            experiment_mistakes,
            invitation_mistakes,
            lifecycle_mistakes,
            openings_mistakes,
            step_mistakes,
            team_mistakes,
            topic_mistakes,
            window_mistakes,
        )
        from models.rules.hooks.settings import hook_mistakes

        def of_sequence(file: str) -> Callable[[], Iterable[tuple[Location, str]]]:
            return lambda: enrolment_mistakes(self._sequence(file), self.models)

        def invited(file: str) -> Callable[[], Iterable[tuple[Location, str]]]:
            return lambda: invitation_mistakes(self._sequence(file), self.team)

        def steps(file: str) -> Callable[[], Iterable[tuple[Location, str]]]:
            names = [PurePosixPath(one).stem for one in self.sequence_files()]
            return lambda: step_mistakes(self._sequence(file), names, self._sound_team(), self.models.values())

        def consented(file: str) -> Callable[[], Iterable[tuple[Location, str]]]:
            return lambda: topic_mistakes(self._sequence(file), self.settings.consent)

        def compared(file: str) -> Callable[[], Iterable[tuple[Location, str]]]:
            before = [one for one in self.sequence_files() if one < file]
            return lambda: experiment_mistakes(self._sequence(file), [self._sequence(one) for one in before])

        def opens(file: str) -> Callable[[], Iterable[tuple[Location, str]]]:
            return lambda: window_mistakes(self._sequence(file), self.pacing)

        checks = (of_sequence, invited, steps, consented, compared, opens)
        pairs: list[tuple[str, Callable[[], Iterable[tuple[Location, str]]]]] = [
            (LIFECYCLE_FILE, lambda: lifecycle_mistakes(self.lifecycle, self.models)),
            (LIFECYCLE_FILE, self._action_mistakes),
            (TEAM_FILE, lambda: team_mistakes(self.team, self.scoring)),
            (OPENINGS_FILE, lambda: openings_mistakes(self.openings, self.scoring)),
            (SETTINGS_FILE, lambda: hook_mistakes(self.settings.hooks, self.mapping, self.read_text)),
            *((file, compare(file)) for file in self.sequence_files() for compare in checks),
        ]
        for file, compare in pairs:
            with contextlib.suppress(ConfigurationError):  # what is wrong with one of them was told before
                mistakes = list(compare())
                document = self.document(file)
                yield from (document.problem(place, message) for place, message in mistakes)

    def _action_mistakes(self) -> Iterable[tuple[Location, str]]:
        from models.rules.action_agreement import action_mistakes

        names = [PurePosixPath(one).stem for one in self.sequence_files()]
        folders = [path.relative_to(self.emails).as_posix() for path in self.emails.rglob("*") if path.is_dir()]
        given = (self.models, names, self._sound_team(), self.settings.webhooks, folders)
        return action_mistakes(self.lifecycle, *given)

    def _sound_team(self) -> Team | None:
        with contextlib.suppress(ConfigurationError):
            return self.team
        return None

    def doubts(self) -> list[Problem]:
        """What the files may say but hardly mean, each with its line. For a programme without mistakes."""
        from models.rules.action_agreement import action_doubts
        from models.rules.agreement import lifecycle_doubts

        found = [
            self.document(file).problem(place, message)
            for file, model in zip((SCORING_FILE, *self.model_files()), self.models.values(), strict=True)
            for place, message in model.doubts
        ]
        lifecycle = self.document(LIFECYCLE_FILE)
        doubts = (*lifecycle_doubts(self.lifecycle, self.models), *action_doubts(self.lifecycle, self.models))
        return found + [lifecycle.problem(*doubt) for doubt in doubts]

    def _check_mappings(self) -> None:
        problems: list[Problem] = []
        for path in sorted((self.root / "mappings").glob("*.yaml")):
            try:
                self.mapping(path.stem)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)

    @cached_property
    def secret_key(self) -> bytes:
        """Signs links and derives Message-IDs (models.keys). Several machines that share a database must share it."""
        return keys.secret_key(self.root, self.settings)

    @cached_property
    def tokens(self) -> Tokens:
        """Makes and reads what our links carry."""
        return keys.tokens(self.secret_key)

    @cached_property
    def dkim_keys(self) -> list[Key]:
        """The keys of the block `dkim` that sign the mail; ConfigurationError with every key that cannot."""
        return keys.dkim_keys(self.settings, lambda: self.document(SETTINGS_FILE))

    @cached_property
    def webhook_keys(self) -> dict[str, list[bytes]]:
        """Endpoint of `webhooks` → what its webhooks are signed with; ConfigurationError with every secret amiss."""
        return keys.webhook_keys(self.settings)

    @cached_property
    def hook_secrets(self) -> dict[str, tuple[str, ...]]:
        """Hook of `hooks` → what its sender proves itself with; ConfigurationError with every secret amiss."""
        return hook_secrets(self.settings.hooks)

    @property
    def limits(self) -> Limits:
        """How much mail may leave: `per_day`, `warm_up` and `domains` of the block `smtp`."""
        from models.rules.limits import Limits

        smtp = self.settings.smtp
        return Limits(smtp.per_day, smtp.warm_up, smtp.domains, self.zone)

    @property
    def message_ids(self) -> MessageIds:
        """Names the messages of this workspace: what `models.queries.messages.intend` asks for."""
        from models.rules.mail import MessageIds, idna_domain

        domain = self.settings.sender.email.rpartition("@")[2]
        return MessageIds(self.secret_key, idna_domain(domain) or "warmline.invalid")

    @property
    def message_domains(self) -> tuple[str, ...]:
        """What stands behind the `@` of this workspace's Message-IDs: the domain of today, then those of before."""
        from models.rules.mail import idna_domain

        earlier = (idna_domain(one.rpartition("@")[2]) for one in self.settings.sender.earlier)
        return tuple(dict.fromkeys([self.message_ids.domain, *filter(None, earlier)]))

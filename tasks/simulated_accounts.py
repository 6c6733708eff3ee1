"""Scores of accounts through time, for what-if: a page of leads, each with what its account's models say.

Decides that an account counts with its people and its attributes of today, and with what these had done by then.
Writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from models.queries import columns, leads, subjects
from models.rules.scoring.columns import Chunk, Ints
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.kernel import score
from models.rules.scoring.labels import Labels
from models.rules.simulation import View


@dataclass(frozen=True)
class Accounts:
    """The accounts of a page of leads, with all that their people ever did."""

    models: Sequence[tuple[CompiledModel, Labels]]
    chunk: Chunk
    places: Ints
    """Of each lead the place of its account in the chunk; −1 without one."""

    @classmethod
    def read(
        cls, connection: Connection, models: Sequence[tuple[CompiledModel, Labels]], lead_ids: Sequence[int]
    ) -> Accounts:
        """The accounts of these leads (ascending ids)."""
        of_lead = leads.accounts_of(connection, lead_ids) if models else {}
        ids = sorted(set(of_lead.values()))
        chunk = subjects.read_chunk(connection, "account", ids)
        for compiled, _ in models:
            columns.learn(connection, compiled, chunk.activities.touchpoint)
        place = {key: number for number, key in enumerate(ids)}
        places = [place[of_lead[lead]] if lead in of_lead else -1 for lead in lead_ids]
        return cls(models, chunk, np.array(places, np.int64))

    def views(self, at: int) -> dict[str, View]:
        """Model → what it said of each lead's account at the instant."""
        if not len(self.chunk):
            return {}
        return {
            compiled.model.name: View.of(
                compiled, labels, score(compiled, self.chunk, at), compiled.attributes.at(self.chunk, at)
            ).spread(self.places)
            for compiled, labels in self.models
        }

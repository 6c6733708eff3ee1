"""The scoring engine: a model of rules, compiled once, evaluated for many leads at an instant, and explained.

`load_scoring` reads a model, `compilation` prepares it, `kernel` is the one place that computes a score, `envelope`
finds when it can change on its own, `explanation` tells it. Everything is a function of (activities, attributes,
model, instant); nothing here reads a clock or a database.
"""

from models.rules.scoring.model import ScoringModel, load_scoring

__all__ = ["ScoringModel", "load_scoring"]

"""Which time zone a lead lives in: what it says itself, else its country (and region), else the workspace's.

Decides from the lead's attributes and from the tables of the tz database as the package `tzdata` carries them (they are
read once, like the zones themselves). A zone that does not exist is told as a doubt and never stops anything. Used by
models.rules.sending_times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from models.documents import did_you_mean, shown
from models.rules.instants import instant

ATTRIBUTE = "time_zone"
COUNTRY = "country"
REGIONS = ("region", "state", "province")
"""Attributes that may hold the part of a country: the first that is known counts."""
NEAR_SECONDS = 3_600
"""A country whose clocks differ by no more has one zone, that of most of its people: Spain with the Canaries."""
_SEASONS = tuple(instant(days * 86_400_000_000) for days in (20_454, 20_636))
"""A January and a July (2026): clocks that agree in both have the same rules."""
_NO_ZONES = frozenset({"factory", "localtime"})
_COUNTRY_NAMES = {
    "czechia": "CZ",
    "deutschland": "DE",
    "great britain": "GB",
    "england": "GB",
    "holland": "NL",
    "russian federation": "RU",
    "south korea": "KR",
    "republic of korea": "KR",
    "the netherlands": "NL",
    "türkiye": "TR",
    "uk": "GB",
    "united kingdom": "GB",
    "u.s.": "US",
    "u.s.a.": "US",
    "us": "US",
    "usa": "US",
    "united states of america": "US",
    "viet nam": "VN",
}
"""What people and other programs write where iso3166.tab says it otherwise."""
_PARTS = {
    "US": """
        America/New_York: CT Connecticut; DE Delaware; DC District of Columbia; FL Florida; GA Georgia; IN Indiana;
            KY Kentucky; ME Maine; MD Maryland; MA Massachusetts; NH New Hampshire; NJ New Jersey; NY New York;
            NC North Carolina; OH Ohio; PA Pennsylvania; RI Rhode Island; SC South Carolina; VT Vermont; VA Virginia;
            WV West Virginia
        America/Detroit: MI Michigan
        America/Chicago: AL Alabama; AR Arkansas; IL Illinois; IA Iowa; KS Kansas; LA Louisiana; MN Minnesota;
            MS Mississippi; MO Missouri; NE Nebraska; ND North Dakota; OK Oklahoma; SD South Dakota; TN Tennessee;
            TX Texas; WI Wisconsin
        America/Denver: CO Colorado; MT Montana; NM New Mexico; UT Utah; WY Wyoming
        America/Boise: ID Idaho
        America/Phoenix: AZ Arizona
        America/Los_Angeles: CA California; NV Nevada; OR Oregon; WA Washington
        America/Anchorage: AK Alaska
        Pacific/Honolulu: HI Hawaii
    """,
    "CA": """
        America/St_Johns: NL Newfoundland and Labrador
        America/Halifax: NS Nova Scotia; PE Prince Edward Island
        America/Moncton: NB New Brunswick
        America/Toronto: ON Ontario; QC Quebec; QC Québec
        America/Winnipeg: MB Manitoba
        America/Regina: SK Saskatchewan
        America/Edmonton: AB Alberta
        America/Vancouver: BC British Columbia
        America/Whitehorse: YT Yukon
        America/Iqaluit: NU Nunavut
        America/Inuvik: NT Northwest Territories
    """,
    "AU": """
        Australia/Sydney: NSW New South Wales; ACT Australian Capital Territory
        Australia/Melbourne: VIC Victoria
        Australia/Hobart: TAS Tasmania
        Australia/Brisbane: QLD Queensland
        Australia/Adelaide: SA South Australia
        Australia/Darwin: NT Northern Territory
        Australia/Perth: WA Western Australia
    """,
    "BR": """
        America/Sao_Paulo: GO Goiás; DF Distrito Federal; MG Minas Gerais; ES Espírito Santo; RJ Rio de Janeiro;
            SP São Paulo; PR Paraná; SC Santa Catarina; RS Rio Grande do Sul
        America/Fortaleza: MA Maranhão; PI Piauí; CE Ceará; RN Rio Grande do Norte; PB Paraíba
        America/Recife: PE Pernambuco
        America/Maceio: AL Alagoas; SE Sergipe
        America/Bahia: BA Bahia
        America/Araguaina: TO Tocantins
        America/Belem: PA Pará; AP Amapá
        America/Campo_Grande: MS Mato Grosso do Sul
        America/Cuiaba: MT Mato Grosso
        America/Porto_Velho: RO Rondônia
        America/Boa_Vista: RR Roraima
        America/Manaus: AM Amazonas
        America/Rio_Branco: AC Acre
    """,
}
"""Country → zone: its parts, by postal code and name. A part with two clocks has that of most of its people, at most
an hour off. Sources: the comments of zone.tab; 49 CFR 71 for the United States."""


_OFFICIAL = {"CN": "Asia/Shanghai", "UA": "Europe/Kyiv"}
"""Countries with one time by law, where zone.tab tells what is kept beside it."""


@dataclass(frozen=True, slots=True)
class LeadZone:
    """A lead's zone, what it was told by (`time_zone`, `country`, `region`, `workspace`), and what is odd about it."""

    zone: ZoneInfo
    told_by: str
    doubt: str = ""


def zone_of(attributes: Mapping[str, Any], default: ZoneInfo) -> ZoneInfo:
    """The zone to reckon a lead's hours in; `default` (the workspace's) where nothing tells it."""
    return lead_zone(attributes, default).zone


def lead_zone(attributes: Mapping[str, Any], default: ZoneInfo) -> LeadZone:
    """The zone with what it was told by, and a doubt where the lead names one that does not exist."""
    said = attributes.get(ATTRIBUTE)
    doubt = ""
    if not _is_blank(said):
        if found := named_zone(said):
            return LeadZone(found, ATTRIBUTE)
        doubt = zone_doubt(said)
    country = country_of(attributes)
    if country is not None:
        for name in REGIONS:
            part = attributes.get(name)
            if isinstance(part, str) and (found := _zone_of_part(country, part)):
                return LeadZone(found, name, doubt)
        if found := _zone_of_country(country):
            return LeadZone(found, COUNTRY, doubt)
    return LeadZone(default, "workspace", doubt)


def named_zone(name: Any) -> ZoneInfo | None:
    """The zone of that IANA name (its case does not matter; CRMs write America/New York, us_slash_eastern); or None."""
    if not isinstance(name, str) or len(name) > 64:
        return None
    return _named(name.strip().casefold())


def zone_doubt(said: Any) -> str:
    """What to tell about a zone that does not exist."""
    near = did_you_mean(said, _names().values()) if isinstance(said, str) and len(said) <= 64 else ""
    return f"{ATTRIBUTE}: found {shown(said)}{near}; allowed: an IANA time zone, such as Europe/Berlin"


def country_of(attributes: Mapping[str, Any]) -> str | None:
    """The lead's country as its ISO 3166 code of two letters, from a code or an English name; None if unknown."""
    said = attributes.get(COUNTRY)
    return country_code(said) if isinstance(said, str) else None


@lru_cache(maxsize=1024)
def country_code(said: str) -> str | None:
    """The ISO 3166 code of a country, from the code or an English name; None if there is no such country."""
    return _countries().get(" ".join(said.split()).casefold()) if len(said) <= 64 else None


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


@lru_cache(maxsize=1024)
def _named(folded: str) -> ZoneInfo | None:
    known = _names()
    for spelling in (folded, folded.replace(" ", "_"), folded.replace("_slash_", "/")):
        if spelling in known:
            return ZoneInfo(known[spelling])
    return None


@lru_cache(maxsize=1024)
def _zone_of_part(country: str, part: str) -> ZoneInfo | None:
    found = _parts(country).get(" ".join(part.split()).casefold().removeprefix(f"{country.lower()}-"))
    return None if found is None else ZoneInfo(found)


@cache
def _zone_of_country(code: str) -> ZoneInfo | None:
    """The country's zone, if its clocks do not differ, or by NEAR_SECONDS at most; else None."""
    if code in _OFFICIAL:
        return ZoneInfo(_OFFICIAL[code])
    zones = [ZoneInfo(row[2]) for row in _table("zone.tab") if row[0] == code]
    if not zones:
        return None
    for at in _SEASONS:
        offsets = [offset.total_seconds() for zone in zones if (offset := at.astimezone(zone).utcoffset()) is not None]
        if max(offsets) - min(offsets) > NEAR_SECONDS:
            return None
    return zones[0]


@cache
def _names() -> dict[str, str]:
    """Case-folded → as the tz database writes it."""
    names = (resources.files("tzdata") / "zones").read_text(encoding="ascii").split()
    return {name.casefold(): name for name in names if name.casefold() not in _NO_ZONES}


@cache
def _countries() -> dict[str, str]:
    """Case-folded code or English name → code."""
    rows = list(_table("iso3166.tab"))
    return {row[1].casefold(): row[0] for row in rows} | {row[0].casefold(): row[0] for row in rows} | _COUNTRY_NAMES


@cache
def _parts(country: str) -> dict[str, str]:
    """Case-folded code or name of a part of the country → zone."""
    found: dict[str, str] = {}
    zone = ""
    for line in _PARTS.get(country, "").strip().splitlines():
        name, colon, rest = line.strip().partition(": ")
        zone, listed = (name, rest) if colon else (zone, line.strip())
        for part in filter(None, (one.strip() for one in listed.split(";"))):
            code, _, words = part.partition(" ")
            found |= {code.casefold(): zone, words.casefold(): zone}
    return found


@cache
def _table(name: str) -> tuple[tuple[str, ...], ...]:
    lines = (resources.files("tzdata") / "zoneinfo" / name).read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line and not line.startswith("#"))

"""Whose each photo is, and under which licence: the files that stand in every export, whatever its format.

The lines are those of the selection: ``© NAME, some rights reserved (LICENCE)``, or ``NAME, no rights reserved (CC0)``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from shroomcurate.export.facts import UNKNOWN, from_inaturalist, license_counts
from shroomcurate.export.records import Records
from shroomcurate.licences import COMBINING, DEEDS, LICENCES, TRAINING, terms

if TYPE_CHECKING:
    import pyarrow as pa

TABLE, PAGE, NOTICE = "ATTRIBUTION.csv", "ATTRIBUTION.md", "NOTICE"

#: The columns of ``ATTRIBUTION.csv``, a row a photo.
COLUMNS = (
    *("file", "split", "class", "photo_id", "observation_uuid", "observer_id", "taxon_id", "taxon_name"),
    *("license", "license_url", "attribution", "observed_on", "latitude", "longitude", "photo_url", "observation_url"),
    *("group", "width", "height", "sha256"),
)

#: How a formula begins. A name that begins like one gets a ' in front, or a spreadsheet would take it for one:
#: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = r"[=+\-@\t\r]"

_UNKNOWN = (
    "Nothing is known of who made them and of what they allow. Without a licence all rights are reserved: ask their "
    "owners before you pass them on."
)

#: Sections of the legal codes 4.0: 1(a) says what adapted material is, 2(a)(4) allows every format, 3(b) is about
#: adapted material alone.
_COLLECTION = (
    "Each photo belongs to its photographer, who gave it its licence. Here the photos stand side by side as they came, "
    "which makes a collection: each keeps its own licence, and none reaches over to the others. Container files change "
    "nothing about that."
)

_WORKS = f"""Which licences may meet in one work:
  {COMBINING}
Whether a trained model is such a work is not settled, and differs from country to country. Creative Commons on that:
  {TRAINING}"""

#: The terms' sentence, and the doubt, are quoted in https://forum.inaturalist.org/t/77663.
_INATURALIST = """The photos come from the iNaturalist open data, which iNaturalist keeps on Amazon Web Services:
  https://registry.opendata.aws/inaturalist-open-data/
  https://github.com/inaturalist/inaturalist-open-data
iNaturalist does not own them. Its terms of use forbid the users of its site to train models on its data for commercial
purposes, whatever the licence; whether that binds who takes the open data from Amazon, it has not said. Read them, and
ask, before you do:
  https://www.inaturalist.org/pages/terms
  https://forum.inaturalist.org/t/can-i-use-inaturalist-aws-open-data-to-train-commercial-ai-model/77663"""


def write_credit(records: Records, folder: Path) -> None:
    """Write ``ATTRIBUTION.csv``, ``ATTRIBUTION.md`` and ``NOTICE`` into an export."""
    from pyarrow.csv import WriteOptions, write_csv

    write_csv(_table(records.table), folder / TABLE, WriteOptions(quoting_style="needed"))
    (folder / PAGE).write_text(_page(records), encoding="utf-8")
    (folder / NOTICE).write_text(_notice(records), encoding="utf-8")


def _table(table: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: table[name] for name in COLUMNS}
    for name in ("file", "class", "taxon_name", "attribution"):
        columns[name] = pc.replace_substring_regex(columns[name], f"^({_FORMULA})", r"'\1")
    return pa.table(columns)


def guarded(text: str) -> str:
    """Return a text as it stands in ``ATTRIBUTION.csv``."""
    return re.sub(f"^({_FORMULA})", r"'\1", text)


def _page(records: Records) -> str:
    """Return the page for people: by licence, then by photographer, with a link to each photo."""
    by_license: dict[str | None, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    rows = records.table.sort_by([("photo_id", "ascending"), ("file", "ascending")])
    columns = [rows[name].to_pylist() for name in ("license", "attribution", "file", "photo_id", "photo_url")]
    for license_name, line, file, photo_id, url in zip(*columns, strict=True):
        link = f"[{photo_id}]({url})" if url else escaped(file)
        by_license[license_name][line or ""].append(link)
    order = [
        name for name in (*LICENCES, *sorted(set(filter(None, by_license)) - set(LICENCES)), None) if name in by_license
    ]
    lines = [f"# Attribution of {escaped(records.name)}", "", _intro(records), ""]
    for license_name in order:
        photographers = by_license[license_name]
        lines += _section(license_name, photographers)
    return "\n".join(lines)


def _intro(records: Records) -> str:
    return (
        f"{records.description} Each photo belongs to its photographer and keeps its own licence. "
        f"`{TABLE}` has a row for each photo; `{NOTICE}` says what to heed."
    )


def _section(license_name: str | None, photographers: dict[str, list[str]]) -> list[str]:
    photos = sum(map(len, photographers.values()))
    count = "1 photo" if photos == 1 else f"{photos:,} photos"
    if license_name is None:
        return [f"## Licence not known: {count}", "", _UNKNOWN, ""]
    deed = f" [The licence]({DEEDS[license_name]})." if license_name in DEEDS else ""
    lines = [f"## {license_name}: {count}", "", LICENCES.get(license_name, "Not known here: ask its owner.") + deed, ""]
    for line, links in sorted(photographers.items(), key=lambda item: (item[0].casefold().lstrip("© "), item[0])):
        lines.append(f"- {escaped(line) or 'No attribution is known'}: {', '.join(links)}")
    return [*lines, ""]


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is: a photographer's name may hold any character."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _notice(records: Records) -> str:
    """Return what to heed, as plain text."""
    counts = license_counts(records)
    known = [name for name in counts if name != UNKNOWN]
    paragraphs = [
        f"{records.name}: {records.description}",
        "This is a summary, not legal advice. The licences themselves decide.",
    ]
    if known:
        listed = "\n".join(f"  {name:<12} {counts[name]:>9,}  {DEEDS.get(name, 'not known here')}" for name in known)
        heed = "\n".join(fill(f"- {each}", 100, subsequent_indent="  ") for each in terms(counts)) or "- Nothing."
        paragraphs += [
            f"Photos by licence:\n{listed}",
            fill(_COLLECTION, 100),
            f"Who uses the whole must heed the terms of all:\n{heed}",
            _WORKS,
        ]
    if unknown := counts.get(UNKNOWN):
        count = "1 photo" if unknown == 1 else f"{unknown:,} photos"
        paragraphs.append(fill(f"Of {count} no licence is known. {_UNKNOWN}", 100))
    if from_inaturalist(records):
        paragraphs.append(_INATURALIST)
    return "\n\n".join(paragraphs) + "\n"

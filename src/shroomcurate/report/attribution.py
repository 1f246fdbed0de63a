"""The attribution file that travels inside the page: whose each photo is, and under which licence.

Most Creative Commons licences ask for it wherever a photo goes, so it goes where the page goes.
"""

from __future__ import annotations

import base64
import gzip
import io
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.report.known import Known

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "attribution.csv.gz"

#: The file's columns.
COLUMNS = ("path", "photo_id", "photo", "observation", "license", "attribution")

_PHOTO = "https://www.inaturalist.org/photos/"
_OBSERVATION = "https://www.inaturalist.org/observations/"


class Attribution(NamedTuple):
    """The attribution file as the page holds it.

    Attributes
    ----------
    name
        What it is called when somebody saves it.
    uri
        The file itself as a ``data:`` URI.
    photos
        Its rows.
    bytes
        Its size, packed.
    """

    name: str
    uri: str
    photos: int
    bytes: int


def attribution(known: Known) -> Attribution | None:
    """Return the attribution file of every photo that the dataset offers; None when it offers none that is known."""
    if known.offered is None or known.offered.words == "wanted":
        return None
    rows = known.offered.rows.filter(known.offered.rows["photo_id"].is_valid())
    if not len(rows):
        return None
    # Level 6 packs 222,500 photos to 8 MB in under two seconds; 9 takes three times as long for one per cent less.
    packed = gzip.compress(_csv(rows), 6, mtime=0)  # no time inside: the same photos give the same bytes
    return Attribution(
        FILE, "data:application/gzip;base64," + base64.b64encode(packed).decode(), len(rows), len(packed)
    )


def _csv(rows: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow.csv import WriteOptions, write_csv

    def address(start: str, column: str) -> pa.ChunkedArray:
        return pc.binary_join_element_wise(start, rows[column].cast(pa.string()), "")

    columns = {
        "path": rows["path"],
        "photo_id": rows["photo_id"],
        "photo": address(_PHOTO, "photo_id"),
        "observation": address(_OBSERVATION, "observation_uuid"),
        "license": rows["license"],
        # A name that begins like a formula would be one to a spreadsheet; https://owasp.org/www-community/attacks/CSV_Injection
        "attribution": pc.replace_substring_regex(rows["attribution"], r"^([=+\-@\t\r])", r"'\1"),
    }
    buffer = io.BytesIO()
    write_csv(pa.table({name: columns[name] for name in COLUMNS}), buffer, WriteOptions(quoting_style="needed"))
    return buffer.getvalue()

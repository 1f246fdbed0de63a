"""The licences that a newer catalogue gives the photos of a selection."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from shroomcurate.catalogue.server import connect
from shroomcurate.dataset import Dataset, read_receipt, read_table
from shroomcurate.errors import StageMissing
from shroomcurate.select.scope import read_scope


class LicensesNow(NamedTuple):
    """What the catalogue says of the selection's photos."""

    licenses: dict[int, str | None] | None
    """photo_id -> licence, None where the catalogue does not hold the photo. Classes that it does not know are left
    away. None when it has nothing to say."""
    why_not: str | None = None
    """Why it has nothing to say."""


def licenses_now(dataset: Dataset, database_url: str | None = None) -> LicensesNow:
    """Look the photos of ``selection.parquet`` up in a catalogue that is newer than the selection.

    A class of which the catalogue holds no photo at all was not loaded, rather than withdrawn.

    Raises
    ------
    StageMissing
        There is no selection.
    """
    selection = dataset.require("selection.parquet")
    receipt = read_receipt(selection)
    table = read_table(selection, ["class", "photo_id"])
    ids = table["photo_id"].to_pylist()
    with connect(database_url, "download --recheck") as engine, engine.connect() as connection:
        try:
            scope = read_scope(connection)
        except StageMissing:
            return LicensesNow(None, "no dump has been loaded")
        if scope.from_api:
            return LicensesNow(None, "the catalogue came from the API and holds only a part of each species")
        if receipt is not None and receipt.options.get("catalogue") == scope.fingerprint:
            return LicensesNow(None, "the catalogue is still the one that the selection came from; load a newer dump")
        found = "SELECT photo_id, min(license) FROM photos WHERE photo_id = ANY (%s) GROUP BY photo_id"
        held: dict[int, str] = dict(connection.exec_driver_sql(found, (ids,)).tuples().all())
    classes = defaultdict(list)
    for name, photo_id in zip(table["class"].to_pylist(), ids, strict=True):
        classes[name].append(photo_id)
    known = [members for members in classes.values() if any(photo_id in held for photo_id in members)]
    return LicensesNow({photo_id: held.get(photo_id) for members in known for photo_id in members})

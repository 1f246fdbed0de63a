"""The licences that a newer catalogue gives the photos of a selection."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.catalogue.server import connect
from shroomcurate.dataset import Dataset, Receipt, read_receipt, read_table
from shroomcurate.errors import StageMissing
from shroomcurate.select.scope import Scope, read_scope

if TYPE_CHECKING:
    from sqlalchemy import Connection


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
        if why := _narrower(connection, receipt, scope):
            return LicensesNow(None, why)
        found = "SELECT photo_id, min(license) AS license FROM photos WHERE photo_id = ANY (%s) GROUP BY photo_id"
        held = {row.photo_id: row.license for row in connection.exec_driver_sql(found, (ids,))}
    classes = defaultdict(list)
    for name, photo_id in zip(table["class"].to_pylist(), ids, strict=True):
        classes[name].append(photo_id)
    known = [members for members in classes.values() if any(photo_id in held for photo_id in members)]
    return LicensesNow({photo_id: held.get(photo_id) for members in known for photo_id in members})


def _narrower(connection: Connection, receipt: Receipt | None, scope: Scope) -> str | None:
    """Return in what the catalogue holds less than the one that the selection came from; None when in nothing known."""
    before = "SELECT taxa, quality FROM shroomcurate.load_ledger WHERE fingerprint = %s ORDER BY load_id DESC LIMIT 1"
    fingerprint = receipt.options.get("catalogue") if receipt else None
    loaded = connection.exec_driver_sql(before, (fingerprint,)).one_or_none()
    if loaded is None:
        return None
    if scope.quality not in ("any", loaded.quality):
        return (
            f"the catalogue holds observations of quality {scope.quality} only, that of the selection {loaded.quality}"
        )
    if scope.taxa is not None and (loaded.taxa is None or not set(loaded.taxa) <= set(scope.taxa)):
        return f"the catalogue holds {scope.loaded} only, less than that of the selection"
    return None

"""Names and attribution beside the rows: looked up for the few taxa and observers, not joined to each photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue.server import sql_file
from shroomcurate.select.columns import texts
from shroomcurate.select.templates import read_template, statement

if TYPE_CHECKING:
    import pyarrow as pa

#: What stands before and behind the photographer's name where no licence is needed.
_FREE = {
    "CC0": ("", ", no rights reserved (CC0)"),
    "PD": ("", ", no known copyright restrictions (PD)"),
}


def with_names(driver: Any, table: pa.Table) -> pa.Table:
    """Return the table with taxon_name, class_name and attribution, where it lacks them."""
    made: dict[str, Callable[[], pa.Array]] = {
        "taxon_name": lambda: _names(driver, table["taxon_id"]),
        "class_name": lambda: _names(driver, table["class_taxon_id"]),
        "attribution": lambda: _attributions(driver, table),
    }
    for name, make in made.items():
        if name not in table.schema.names:
            table = table.append_column(name, make())
    return table


def _names(driver: Any, taxa: pa.ChunkedArray) -> pa.Array:
    each = taxa.combine_chunks().dictionary_encode()
    ids = each.dictionary.to_pylist()
    found = dict(
        driver.execute("SELECT taxon_id, name FROM taxa WHERE taxon_id = ANY (CAST(%s AS bigint[]))", (ids,)).fetchall()
    )
    return texts([found.get(taxon_id) for taxon_id in ids]).take(each.indices)


def _attributions(driver: Any, table: pa.Table) -> pa.Array:
    """Return the line that must stand beside each photo; null without an observer or a licence."""
    import pyarrow.compute as pc

    observers = table["observer_id"].combine_chunks().dictionary_encode()
    ids = observers.dictionary.to_pylist()
    credit = read_template(sql_file("select/parts/credit.sql"))
    found = dict(driver.execute(statement(driver, credit, {"chosen": ids})).fetchall())
    licenses = table["license"].combine_chunks().dictionary_encode()
    around = [
        _FREE.get(license_name, ("© ", f", some rights reserved ({license_name})"))
        for license_name in licenses.dictionary.to_pylist()
    ]
    return pc.binary_join_element_wise(
        texts([head for head, _ in around]).take(licenses.indices),
        texts([found[observer_id] for observer_id in ids]).take(observers.indices),
        texts([tail for _, tail in around]).take(licenses.indices),
        texts([""])[0],
    )

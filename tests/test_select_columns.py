"""Rows that come column by column are the rows that PostgreSQL has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroomcurate.select import columns
from shroomcurate.select.columns import fetched, prepared

TYPES = {"text": "string", "id": "string", "big": "int64", "small": "int32", "real": "double", "day": "date32"}
POSTGRES = {
    "text": "text",
    "id": "uuid",
    "big": "bigint",
    "small": "integer",
    "real": "double precision",
    "day": "date",
}


@pytest.fixture(scope="module")
def driver(postgres: str) -> Iterator[Any]:
    with psycopg.connect(postgres) as connection:
        yield connection


rows = st.lists(
    st.fixed_dictionaries(
        {
            "class": st.integers(-3, 3),
            "text": st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            "id": st.none() | st.uuids().map(str),
            "big": st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
            "small": st.none() | st.integers(-(2**31) + 1, 2**31 - 1),
            "real": st.none() | st.floats(allow_nan=False),
            "day": st.none() | st.dates(),
        }
    ),
    max_size=40,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=rows, weights=st.dictionaries(st.integers(-3, 3), st.integers(0, 5)), piece=st.sampled_from([1, 7, 50_000]))
def test_any_rows_come_as_they_are_by_class_the_heaviest_first(
    driver: Any, made: list[dict[str, Any]], weights: dict[int, int], piece: int
) -> None:
    lines = ", ".join(f"%s::{POSTGRES.get(name, 'bigint')}[]" for name in ("class", *TYPES))
    with psycopg.ClientCursor(driver) as cursor:
        values = [[row[name] for row in made] for name in ("class", *TYPES)]
        select = cursor.mogrify(f"SELECT * FROM unnest({lines}) AS made (class, {', '.join(TYPES)})", values).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_PIECE", piece)
        table = fetched(driver, select, prepared(driver, select), {**TYPES, "class": "int64"}, "class", weights)
    expected = sorted(made, key=lambda row: (-weights.get(row["class"], 0), row["class"]))
    assert table.select(["class", *TYPES]).to_pylist() == expected


def test_a_value_of_another_type_is_taken_if_it_reads_as_one_and_refused_otherwise(driver: Any) -> None:
    wanted = {"class": "int64", "big": "int64", "day": "date32", "real": "double"}
    select = b"SELECT 1 AS class, 7::numeric AS big, '2024-02-29'::text AS day, 0.1::numeric AS real"
    (row,) = fetched(driver, select, prepared(driver, select), wanted, "class").to_pylist()
    assert row == {"class": 1, "big": 7, "day": date(2024, 2, 29), "real": 0.1}
    for wrong in (b"1.5", b"'x'", b"1e30::float8"):
        select = b"SELECT 1 AS class, %b AS big, NULL::date AS day, 0 AS real" % wrong
        with pytest.raises(psycopg.Error):
            fetched(driver, select, prepared(driver, select), wanted, "class")
        driver.rollback()


def test_what_is_no_select_is_refused(driver: Any) -> None:
    for statement in (b"SET lock_timeout = 0", b"SELECT 1; SELECT 2", b"SELECT 1) AS a; DROP TABLE x; SELECT (1", b""):
        with pytest.raises(psycopg.Error):
            prepared(driver, statement)
        driver.rollback()

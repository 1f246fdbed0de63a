"""Small dumps in the true layout, built row by row."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

HEADERS = {
    "taxa": ["taxon_id", "ancestry", "rank_level", "rank", "name", "active"],
    "observations": [
        "observation_uuid",
        "observer_id",
        "latitude",
        "longitude",
        "positional_accuracy",
        "taxon_id",
        "quality_grade",
        "observed_on",
        "anomaly_score",
    ],
    "photos": [
        "photo_uuid",
        "photo_id",
        "observation_uuid",
        "observer_id",
        "extension",
        "license",
        "width",
        "height",
        "position",
    ],
    "observers": ["observer_id", "login", "name"],
}

BASIDIOMYCOTA = 47169
AMANITA, MUSCARIA, GUESSOWII, VAGINATA, BOLETUS, EDULIS, HYBRID, INACTIVE, OAK = range(101, 110)

TAXA = [
    (48460, "", "100", "stateofmatter", "Life"),
    (47170, "48460", "70", "kingdom", "Fungi"),
    (47126, "48460", "70.0", "kingdom", "Plantae"),
    (BASIDIOMYCOTA, "48460/47170", "60", "phylum", "Basidiomycota"),
    (48250, "48460/47170", "60", "phylum", "Ascomycota"),
    # 471690 must not count as lying below 47169.
    (471690, "48460/47126", "60", "phylum", "Tracheophyta"),
    (OAK, "48460/47126/471690", "10", "species", "Quercus robur"),
    (AMANITA, "48460/47170/47169", "20", "genus", "Amanita"),
    (MUSCARIA, f"48460/47170/47169/{AMANITA}", "10.0", "species", "Amanita muscaria"),
    (GUESSOWII, f"48460/47170/47169/{AMANITA}/{MUSCARIA}", "5", "variety", "Amanita muscaria guessowii"),
    (VAGINATA, f"48460/47170/47169/{AMANITA}", "10", "species", 'Amanita "vaginata"'),
    (BOLETUS, "48460/47170/47169", "20", "genus", "Boletus"),
    (EDULIS, f"48460/47170/47169/{BOLETUS}", "10", "species", "Boletus edulis"),
    (HYBRID, f"48460/47170/47169/{BOLETUS}", "10", "hybrid", "Boletus edulis × aereus"),
]


def observation_uuid(number: int) -> str:
    return f"0b5e0000-0000-4000-8000-{number:012d}"


def photo_uuid(number: int) -> str:
    return f"0f070000-0000-4000-8000-{number:012d}"


class Dump:
    """Rows of the four tables; `write` puts them into a folder."""

    def __init__(self) -> None:
        self.headers = {table: list(header) for table, header in HEADERS.items()}
        self.rows: dict[str, list[dict[str, Any]]] = {table: [] for table in HEADERS}
        for taxon_id, ancestry, level, rank, name in TAXA:
            self.taxon(taxon_id, ancestry, level, rank, name)
        self.taxon(INACTIVE, f"48460/47170/47169/{AMANITA}", "10", "species", "Amanita gone", active="false")
        self.observer(1, "ann", "Ann Observer")

    def taxon(self, taxon_id: int, ancestry: str, level: str, rank: str, name: str, active: str = "true") -> None:
        values = (taxon_id, ancestry, level, rank, name, active)
        self.rows["taxa"].append(dict(zip(HEADERS["taxa"], values, strict=True)))

    def observer(self, observer_id: int, login: str, name: str = "") -> None:
        self.rows["observers"].append({"observer_id": observer_id, "login": login, "name": name})

    def observation(self, number: int, taxon_id: int | str = MUSCARIA, **other: Any) -> None:
        row = {
            "observation_uuid": observation_uuid(number),
            "observer_id": 1,
            "latitude": "47.5",
            "longitude": "-8.25",
            "positional_accuracy": "",
            "taxon_id": taxon_id,
            "quality_grade": "research",
            "observed_on": "2024-09-30",
            "anomaly_score": "",
        }
        self.rows["observations"].append({**row, **other})

    def photo(self, photo_id: int, observation: int, **other: Any) -> None:
        row = {
            "photo_uuid": photo_uuid(photo_id),
            "photo_id": photo_id,
            "observation_uuid": observation_uuid(observation),
            "observer_id": 1,
            "extension": "jpg",
            "license": "CC-BY",
            "width": 2048,
            "height": 1536,
            "position": 0,
        }
        self.rows["photos"].append({**row, **other})

    def photographed(self, taxon_id: int, photos: int, first: int, **other: Any) -> None:
        """One observation with one photo each, numbered from `first`."""
        for number in range(first, first + photos):
            self.observation(number, taxon_id)
            self.photo(number, number, **other)

    def text(self, table: str) -> str:
        lines = [self.headers[table]]
        lines += [[str(row.get(name, "")) for name in self.headers[table]] for row in self.rows[table]]
        return "".join("\t".join(line) + "\n" for line in lines)

    def write(self, folder: Path, *, packed: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for table in HEADERS:
            content = self.text(table).encode()
            if packed:
                (folder / f"{table}.csv.gz").write_bytes(gzip.compress(content, 1, mtime=0))
            else:
                (folder / f"{table}.csv").write_bytes(content)
        return folder


def read_independently(file: Path) -> list[dict[str, str]]:
    """Read a dump table with the standard library alone, to check our reader against."""
    opener: Any = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8", newline="\n") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))

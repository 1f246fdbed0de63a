"""Select N photos per class from the catalogue.

Reads: the catalogue. Writes: ``selection.parquet``, ``selection.csv``. Resumes: it is one query; run it again.
"""

from __future__ import annotations

from shroomcurate.dataset import Column

SCHEMA = (
    Column("photo_id", "int64", "iNaturalist photo id"),
    Column("photo_uuid", "string", "iNaturalist photo UUID"),
    Column("observation_uuid", "string", "the observation the photo belongs to (the smallest UUID if several)"),
    Column("observer_id", "int64", "iNaturalist user id of the photographer"),
    Column("taxon_id", "int64", "the taxon the observation was identified as"),
    Column("taxon_name", "string", "its scientific name"),
    Column("class", "string", "the class: its folder name, such as Amanita_muscaria"),
    Column("class_name", "string", "the class as a name, such as Amanita muscaria"),
    Column("class_taxon_id", "int64", "the taxon that is the class"),
    Column("rank_in_class", "int32", "1 is the first; ranks above N are the reserve"),
    Column("role", "string", "wanted or reserve"),
    Column("extension", "string", "file end in the bucket, letter case as there"),
    Column("license", "string", "CC0, PD, CC-BY, CC-BY-SA, CC-BY-ND, CC-BY-NC, CC-BY-NC-SA or CC-BY-NC-ND"),
    Column("attribution", "string", "the line that must stand beside the photo"),
    Column("latitude", "double", "degrees north, may be obscured; null when unknown"),
    Column("longitude", "double", "degrees east, may be obscured; null when unknown"),
    Column("observed_on", "date32", "date of the observation; null when unknown"),
)

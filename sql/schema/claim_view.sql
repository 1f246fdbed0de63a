-- The catalogue of all taxa: a table of its claims would double it, so they are joined by each query, and the tables
-- have the indexes that the official recipe gives them for joins.
CREATE INDEX ON observations (taxon_id);
CREATE INDEX ON photos (observation_uuid);

-- claim_count: as in claim_table.sql, but every claim is one row of it.
CREATE VIEW claim_count AS
SELECT taxon_id, quality_grade, license, extension, elsewhere, 1 AS photos
FROM claim
WHERE NOT repeated;

-- The catalogue of all taxa: a table of its claims would double it, so they are joined by each query, and the tables
-- have the indexes that the official recipe gives them for joins.
CREATE INDEX ON observations (taxon_id);
CREATE INDEX ON photos (observation_uuid);

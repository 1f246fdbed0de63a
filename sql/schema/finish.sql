-- After the rows: the class of each taxon at each rank, indexes, statistics.

-- taxon_class: which species, genus and family a taxon rolls up to. A subspecies or variety belongs to its species;
-- a hybrid is a rank of its own and belongs to a genus, not to a species. Inactive taxa have no known successor
-- and belong to nothing.
CREATE TABLE taxon_class AS
SELECT taxon.taxon_id,
       class.rank,
       class.taxon_id AS class_taxon_id,
       class.name     AS class_name
FROM taxa AS taxon
CROSS JOIN LATERAL unnest(
    array_remove(string_to_array(concat_ws('/', taxon.ancestry, taxon.taxon_id), '/'), '')::bigint[]
) AS line (ancestor_id)
JOIN taxa AS class
  ON class.taxon_id = line.ancestor_id
 AND class.rank IN ('species', 'genus', 'family')
WHERE taxon.active
  AND class.active;

CREATE INDEX ON taxa (taxon_id);
CREATE INDEX ON taxon_class (taxon_id);
CREATE INDEX ON observations (observation_uuid);
CREATE INDEX ON observations (taxon_id);
CREATE INDEX ON photos (observation_uuid);
CREATE INDEX ON photos (photo_id);
CREATE INDEX ON photos_elsewhere (photo_id);
CREATE INDEX ON observers (observer_id);

ANALYZE taxa, taxon_class, observations, photos, photos_elsewhere, observers;

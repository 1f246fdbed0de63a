-- After the rows of taxa, while those of observations are read ahead.

-- A tenth of the usual sample, here and below: every plan is hash joins over whole tables, whatever the exact figures
-- are.
SET LOCAL default_statistics_target = 10;
ANALYZE taxa;

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

-- taxon_place: the same, one row a taxon.
CREATE TABLE taxon_place AS
SELECT taxon_id,
       max(class_taxon_id) FILTER (WHERE rank = 'species') AS species_id,
       max(class_taxon_id) FILTER (WHERE rank = 'genus')   AS genus_id,
       max(class_taxon_id) FILTER (WHERE rank = 'family')  AS family_id
FROM taxon_class
GROUP BY taxon_id;

CREATE INDEX ON taxa (taxon_id);
CREATE INDEX ON taxon_class (taxon_id);
ANALYZE taxon_class, taxon_place;

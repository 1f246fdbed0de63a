-- After the rows: what the queries read, indexes, statistics. Its time is load time: benchmarks/load.py and
-- benchmarks/query.py measure what it costs and what it brings. Every query reads `claim` as a whole, so photos and
-- observations need no index of their own.

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

-- claim: what each observation says of each photo, one row for each row of `photos`: the join that every query needs.
--   species_id, genus_id, family_id   the class at each rank; NULL: none
--   elsewhere   the photo stands in an observation outside the catalogue as well
--   repeated    the photo stands in several rows
--   conflict    the ranks at which its rows give it two classes; NULL for nearly all
CREATE TABLE claim AS
SELECT photos.photo_id,
       photos.photo_uuid,
       photos.observation_uuid,
       photos.observer_id,
       photos.extension,
       photos.license,
       observations.taxon_id,
       class.species_id,
       class.genus_id,
       class.family_id,
       observations.quality_grade,
       observations.latitude,
       observations.longitude,
       observations.observed_on,
       elsewhere.photo_id IS NOT NULL AS elsewhere,
       false                          AS repeated,
       CAST(NULL AS text[])           AS conflict
FROM photos
JOIN observations USING (observation_uuid)
LEFT JOIN (SELECT taxon_id,
                  max(class_taxon_id) FILTER (WHERE rank = 'species') AS species_id,
                  max(class_taxon_id) FILTER (WHERE rank = 'genus')   AS genus_id,
                  max(class_taxon_id) FILTER (WHERE rank = 'family')  AS family_id
           FROM taxon_class
           GROUP BY taxon_id) AS class USING (taxon_id)
LEFT JOIN (SELECT DISTINCT photo_id FROM photos_elsewhere) AS elsewhere USING (photo_id);

UPDATE claim
SET repeated = true,
    conflict = array_remove(ARRAY[CASE WHEN several.species THEN 'species' END,
                                  CASE WHEN several.genera THEN 'genus' END,
                                  CASE WHEN several.families THEN 'family' END], NULL)
FROM (SELECT photo_id,
             min(species_id) <> max(species_id) AS species,
             min(genus_id) <> max(genus_id)     AS genera,
             min(family_id) <> max(family_id)   AS families
      FROM claim
      WHERE photo_id IN (SELECT photo_id FROM claim GROUP BY photo_id HAVING count(*) > 1)
      GROUP BY photo_id) AS several
WHERE several.photo_id = claim.photo_id;

CREATE INDEX ON taxa (taxon_id);
CREATE INDEX ON taxon_class (taxon_id);
CREATE INDEX ON observers (observer_id);
CREATE INDEX ON claim (photo_id) WHERE repeated;

-- A tenth of the usual sample: every plan is hash joins over whole tables, whatever the exact figures are.
SET LOCAL default_statistics_target = 10;
ANALYZE taxa, taxon_class, observations, photos, observers, claim;

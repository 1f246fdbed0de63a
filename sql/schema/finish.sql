-- After the rows: what the queries read, indexes, statistics. Its time is load time, so all that is here was measured
-- to pay: `claim` makes a query three times faster and costs as much as the four indexes that it makes unnecessary.

SET LOCAL work_mem = '256MB';
SET LOCAL jit = off;

-- A tenth of the usual sample: every plan is hash joins over whole tables, whatever the exact figures are.
SET LOCAL default_statistics_target = 10;
ANALYZE taxa, observations, photos, photos_elsewhere, observers;

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
ANALYZE taxon_class;

-- several: photos that stand in several rows, and the ranks at which these give them two classes.
CREATE TEMPORARY TABLE several ON COMMIT DROP AS
SELECT photo_id, CAST(NULL AS text[]) AS conflict FROM photos GROUP BY photo_id HAVING count(*) > 1
UNION
SELECT photo_id, NULL
FROM (SELECT observation_uuid FROM observations GROUP BY observation_uuid HAVING count(*) > 1) AS twice
JOIN photos USING (observation_uuid);
ANALYZE several;

UPDATE several
SET conflict = classes.conflict
FROM (SELECT photo_id, array_agg(DISTINCT rank) AS conflict
      FROM (SELECT photo_id, rank
            FROM several
            JOIN photos USING (photo_id)
            JOIN observations USING (observation_uuid)
            JOIN taxon_class USING (taxon_id)
            GROUP BY photo_id, rank
            HAVING min(class_taxon_id) <> max(class_taxon_id)) AS two
      GROUP BY photo_id) AS classes
WHERE classes.photo_id = several.photo_id;

-- claim: what each observation says of each photo, one row for each row of `photos`: the join that every query needs,
-- a class's rows together at each rank.
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
       several.photo_id IS NOT NULL   AS repeated,
       several.conflict
FROM photos
JOIN observations USING (observation_uuid)
LEFT JOIN (SELECT taxon_id,
                  max(class_taxon_id) FILTER (WHERE rank = 'species') AS species_id,
                  max(class_taxon_id) FILTER (WHERE rank = 'genus')   AS genus_id,
                  max(class_taxon_id) FILTER (WHERE rank = 'family')  AS family_id
           FROM taxon_class
           GROUP BY taxon_id) AS class USING (taxon_id)
LEFT JOIN (SELECT DISTINCT photo_id FROM photos_elsewhere) AS elsewhere USING (photo_id)
LEFT JOIN several USING (photo_id)
ORDER BY class.family_id, class.genus_id, class.species_id;

CREATE INDEX ON taxa (taxon_id);
CREATE INDEX ON taxon_class (taxon_id);
CREATE INDEX ON observers (observer_id);
-- The rows of a class lie together, so an index reads them in one go, and is made from rows that are nearly in order.
CREATE INDEX ON claim (species_id) WHERE NOT repeated;
CREATE INDEX ON claim (genus_id) WHERE NOT repeated;
CREATE INDEX ON claim (family_id) WHERE NOT repeated;
CREATE INDEX ON claim (photo_id) WHERE repeated;
CREATE INDEX ON claim (species_id) WHERE repeated;
CREATE INDEX ON claim (genus_id) WHERE repeated;
CREATE INDEX ON claim (family_id) WHERE repeated;

ANALYZE claim;

-- After all rows: what the queries read, small indexes, statistics. Its time is load time: benchmarks/load.py and
-- benchmarks/query.py measure what it costs and what it brings. Then claim_table.sql or claim_view.sql follows.
ANALYZE photos, photos_elsewhere, photos_repeated, observers;

-- several: photos that stand in several rows, of photos or, should the dump have an observation twice, of those; their
-- observations, and the ranks at which these contradict each other. What is of two genera is of two species, whether
-- or not both are named; and of a taxon without any class, such as an inactive one, nobody knows what it shows.
CREATE TEMPORARY TABLE row_of_several ON COMMIT DROP AS
SELECT photo_id, observation_uuid
FROM photos
WHERE photo_id IN (SELECT photo_id FROM photos_repeated)
   OR observation_uuid IN (SELECT observation_uuid FROM twice);
ANALYZE row_of_several;

CREATE TABLE several AS
SELECT photo_id,
       observations,
       CASE WHEN unknown OR families THEN ARRAY['species', 'genus', 'family']
            WHEN genera THEN ARRAY['species', 'genus']
            WHEN species THEN ARRAY['species']
            ELSE CAST(ARRAY[] AS text[]) END AS conflict
FROM (
    SELECT photo_id,
           array_agg(DISTINCT observation_uuid) AS observations,
           min(species_id) <> max(species_id) AS species,
           min(genus_id) <> max(genus_id) AS genera,
           min(family_id) <> max(family_id) AS families,
           bool_or(class.taxon_id IS NULL)
               AND min(coalesce(observations.taxon_id, -1)) <> max(coalesce(observations.taxon_id, -1)) AS unknown
    FROM row_of_several
    JOIN observations USING (observation_uuid)
    LEFT JOIN taxon_place AS class ON class.taxon_id = observations.taxon_id
    GROUP BY photo_id
) AS compared;

-- claim: what each observation says of each photo, one row for each row of `photos`: the join that every query needs.
--   species_id, genus_id, family_id   the class at each rank; NULL: none
--   elsewhere   the photo stands in an observation outside the catalogue as well
--   repeated    the photo stands in several rows
--   conflict    the ranks at which its rows contradict each other; NULL for nearly all
-- What most queries look at stands first, and text last: whatever stands behind a text is found by going through it.
CREATE VIEW claim AS
SELECT photos.photo_id,
       class.species_id,
       class.genus_id,
       class.family_id,
       observations.taxon_id,
       photos.observer_id,
       photos.photo_uuid,
       photos.observation_uuid,
       observations.latitude,
       observations.longitude,
       observations.observed_on,
       elsewhere.photo_id IS NOT NULL AS elsewhere,
       several.photo_id IS NOT NULL   AS repeated,
       observations.quality_grade,
       photos.license,
       photos.extension,
       several.conflict
FROM photos
JOIN observations USING (observation_uuid)
LEFT JOIN taxon_place AS class USING (taxon_id)
LEFT JOIN photos_elsewhere AS elsewhere USING (photo_id)
LEFT JOIN several USING (photo_id);

CREATE INDEX ON observers (observer_id);
CREATE INDEX ON several (photo_id);

ANALYZE several;

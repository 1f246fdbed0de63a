-- The best-covered classes and a seeded random sample of each, with a reserve behind it.
--
-- Run by hand: shroomcurate query --show-sql prints this file with its parameters set, for psql.
--
-- Parameters
-- :rank                 text     species, genus or family: what a class is
-- :species              bigint   how many classes: those with most available photos
-- :per_class            bigint   photos wanted of each class
-- :reserve              bigint   further photos of each class that may fill holes
-- :min_per_class        bigint   classes with fewer available photos are left out
-- :max_per_observation  bigint   photos of one observation at most; NULL for all
-- :max_per_observer     bigint   photos of one observer in one class at most; NULL for all
-- :licenses             text[]   licences that are accepted
-- :seed                 text     another seed draws another sample
--
-- One row per photo. The order is that of md5(seed:photo_id), bytewise: the same on every platform, version and
-- collation. Only photos of research-grade observations are taken. A photo that observations of any grade give two
-- classes is no example of either and is left out; so is one that also stands in an observation outside the
-- catalogue, and one without a file extension, which has no address in the bucket.

WITH claim AS (             -- what each observation says about each photo
    SELECT photos.photo_id,
           photos.photo_uuid,
           photos.observation_uuid,
           photos.observer_id,
           photos.extension,
           photos.license,
           observations.taxon_id,
           observations.latitude,
           observations.longitude,
           observations.observed_on,
           observations.quality_grade = 'research' AS research,
           taxon_class.class_taxon_id,
           taxon_class.class_name
    FROM photos
    JOIN observations USING (observation_uuid)
    JOIN taxon_class ON taxon_class.taxon_id = observations.taxon_id
    WHERE taxon_class.rank = CAST(:rank AS text)
),
photo AS (                  -- one row per photo, whichever of its rows stand in the dump
    SELECT DISTINCT ON (photo_id) *,
           md5(CAST(:seed AS text) || ':' || photo_id) COLLATE "C" AS draw
    FROM claim
    WHERE research
      AND extension IS NOT NULL
      AND license = ANY (CAST(:licenses AS text[]))
      AND NOT EXISTS (SELECT FROM claim AS other
                      WHERE other.photo_id = claim.photo_id AND other.class_taxon_id <> claim.class_taxon_id)
      AND NOT EXISTS (SELECT FROM photos_elsewhere AS elsewhere WHERE elsewhere.photo_id = claim.photo_id)
    ORDER BY photo_id, observation_uuid
),
capped_by_observation AS (
    SELECT *
    FROM (SELECT *, row_number() OVER (PARTITION BY class_taxon_id, observation_uuid ORDER BY draw) AS turn
          FROM photo) AS numbered
    WHERE turn <= coalesce(CAST(:max_per_observation AS bigint), turn)
),
available AS (
    SELECT *
    FROM (SELECT *, row_number() OVER (PARTITION BY class_taxon_id, observer_id ORDER BY draw) AS observer_turn
          FROM capped_by_observation) AS numbered
    WHERE observer_turn <= coalesce(CAST(:max_per_observer AS bigint), observer_turn)
),
class AS (
    SELECT class_taxon_id, count(*) AS photos
    FROM available
    GROUP BY class_taxon_id
    HAVING count(*) >= CAST(:min_per_class AS bigint)
    ORDER BY count(*) DESC, class_taxon_id
    LIMIT CAST(:species AS bigint)
),
ranked AS (
    SELECT available.*,
           class.photos AS photos_available,
           row_number() OVER (PARTITION BY class_taxon_id ORDER BY draw, photo_id) AS rank_in_class
    FROM available
    JOIN class USING (class_taxon_id)
)
SELECT ranked.photo_id,
       ranked.photo_uuid,
       ranked.observation_uuid,
       ranked.observer_id,
       ranked.taxon_id,
       taxa.name AS taxon_name,
       ranked.class_taxon_id,
       ranked.class_name,
       ranked.rank_in_class,
       ranked.extension,
       ranked.license,
       CASE ranked.license
           WHEN 'CC0' THEN credit.name || ', no rights reserved (CC0)'
           WHEN 'PD' THEN credit.name || ', no known copyright restrictions (PD)'
           ELSE '© ' || credit.name || ', some rights reserved (' || ranked.license || ')'
       END AS attribution,
       ranked.latitude,
       ranked.longitude,
       ranked.observed_on,
       further.observations AS other_observations
FROM ranked
JOIN taxa USING (taxon_id)
LEFT JOIN LATERAL (
    SELECT name, login FROM observers WHERE observers.observer_id = ranked.observer_id LIMIT 1
) AS observer ON true
CROSS JOIN LATERAL (
    SELECT coalesce(nullif(trim(observer.name), ''), nullif(trim(observer.login), ''),
                    'iNaturalist user ' || ranked.observer_id) AS name
) AS credit
CROSS JOIN LATERAL (        -- only now, when few photos are left
    SELECT string_agg(CAST(observation_uuid AS text), ' ' ORDER BY observation_uuid) AS observations
    FROM (SELECT DISTINCT photos.observation_uuid
          FROM photos
          WHERE photos.photo_id = ranked.photo_id
            AND photos.observation_uuid <> ranked.observation_uuid) AS other
) AS further
WHERE ranked.rank_in_class <= CAST(:per_class AS bigint) + CAST(:reserve AS bigint)
ORDER BY ranked.photos_available DESC, ranked.class_taxon_id, ranked.rank_in_class;

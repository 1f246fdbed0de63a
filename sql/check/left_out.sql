-- Why photos of the catalogue are not available to a query: one row, one count a reason, each photo counted once,
-- for the first reason that holds.
--
-- Parameters
-- :rank      text    species, genus or family
-- :licenses  text[]  licences that are accepted

WITH claim AS (
    SELECT photos.photo_id, photos.license, taxon_class.class_taxon_id,
           observations.quality_grade = 'research' AS research
    FROM photos
    JOIN observations USING (observation_uuid)
    LEFT JOIN taxon_class ON taxon_class.taxon_id = observations.taxon_id AND taxon_class.rank = CAST(:rank AS text)
),
photo AS (
    SELECT photo_id,
           min(license) AS license,
           bool_or(research) AS research,
           count(DISTINCT class_taxon_id) FILTER (WHERE research) AS classes,
           EXISTS (SELECT FROM photos_elsewhere AS elsewhere WHERE elsewhere.photo_id = claim.photo_id) AS elsewhere
    FROM claim
    GROUP BY photo_id
)
SELECT count(*) AS photos,
       count(*) FILTER (WHERE NOT research) AS not_research_grade,
       count(*) FILTER (WHERE research AND classes = 0) AS no_class_at_this_rank,
       count(*) FILTER (WHERE classes > 1) AS on_two_classes,
       count(*) FILTER (WHERE classes = 1 AND elsewhere) AS also_in_an_observation_outside_the_catalogue,
       count(*) FILTER (WHERE classes = 1 AND NOT elsewhere AND NOT license = ANY (CAST(:licenses AS text[])))
           AS other_license
FROM photo;

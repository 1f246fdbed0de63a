-- Why photos of the catalogue are not available to a query: one row, one count a reason, each photo counted once,
-- for the first reason that holds.
--
-- Parameters
-- :rank      text    species, genus or family
-- :licenses  text[]  licences that are accepted

WITH claim AS (
    SELECT photos.photo_id,
           taxon_class.class_taxon_id,
           coalesce(observations.quality_grade = 'research', false) AS research,
           coalesce(photos.license = ANY (CAST(:licenses AS text[])), false) AS licensed,
           photos.extension IS NOT NULL AS named
    FROM photos
    JOIN observations USING (observation_uuid)
    LEFT JOIN taxon_class ON taxon_class.taxon_id = observations.taxon_id AND taxon_class.rank = CAST(:rank AS text)
),
photo AS (                  -- the last three: whether one row fulfils it all
    SELECT photo_id,
           bool_or(research) AS research,
           count(DISTINCT class_taxon_id) AS classes,
           bool_or(research AND class_taxon_id IS NOT NULL) AS classed,
           bool_or(research AND class_taxon_id IS NOT NULL AND licensed) AS licensed,
           bool_or(research AND class_taxon_id IS NOT NULL AND licensed AND named) AS named,
           EXISTS (SELECT FROM photos_elsewhere AS elsewhere WHERE elsewhere.photo_id = claim.photo_id) AS elsewhere
    FROM claim
    GROUP BY photo_id
)
SELECT count(*) AS photos,
       count(*) FILTER (WHERE NOT research) AS not_research_grade,
       count(*) FILTER (WHERE research AND NOT classed) AS no_class_at_this_rank,
       count(*) FILTER (WHERE classed AND classes > 1) AS on_two_classes,
       count(*) FILTER (WHERE classed AND classes = 1 AND elsewhere) AS also_in_an_observation_outside_the_catalogue,
       count(*) FILTER (WHERE classed AND classes = 1 AND NOT elsewhere AND NOT licensed) AS other_license,
       count(*) FILTER (WHERE licensed AND classes = 1 AND NOT elsewhere AND NOT named) AS without_a_file_extension
FROM photo;

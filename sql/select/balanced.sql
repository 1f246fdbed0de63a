-- The best-covered classes: those with most available photos.
--
-- :species              bigint            how many classes
-- :min_per_class        bigint            classes with fewer available photos are left out
WITH class AS (
    SELECT class_taxon_id, photos
    FROM tally
    WHERE reason IS NULL
      AND photos >= :min_per_class
    ORDER BY photos DESC, class_taxon_id
    LIMIT :species
),
-- include: chosen.sql
-- include: judged.sql
,
-- include: sample.sql

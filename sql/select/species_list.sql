-- The classes of a list: --names FILE, a name or id a line.
--
-- :classes              bigint[]          the taxa that the file names
-- :min_per_class        bigint            classes with fewer available photos are left out
WITH class AS (
    SELECT class_taxon_id, photos
    FROM tally
    WHERE reason IS NULL
      AND photos >= :min_per_class
      AND class_taxon_id = ANY (:classes)
),
-- include: chosen.sql
-- include: judged.sql
,
-- include: sample.sql

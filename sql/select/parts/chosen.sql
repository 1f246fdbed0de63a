-- candidate: the rows of `claim` that may be in the classes of `class` (class_taxon_id, photos). sample.sql leaves out the
-- others, sooner than this would; but where caps are asked, this spares sorting them.
--
-- :max_per_observation  bigint            photos of one observation at most; NULL for all
-- :max_per_observer     bigint            photos of one observer in one class at most; NULL for all
candidate AS NOT MATERIALIZED (
    SELECT claim.*
    FROM claim
-- only with max_per_observation, max_per_observer:
    JOIN taxa AS chosen ON chosen.taxon_id =
-- include: class.sql
    WHERE chosen.taxon_id = ANY (ARRAY(SELECT class_taxon_id FROM class))
-- end
),

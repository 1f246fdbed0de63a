-- tally: how many photos each class has, by the reason why they are not available; reason NULL: available.
-- Made before the template runs, which chooses its classes from it. Photos are judged one by one only where something is
-- asked that the load did not count by (see claim_count), or where they stand in several rows.
CREATE TEMPORARY TABLE tally ON COMMIT DROP AS
WITH candidate AS NOT MATERIALIZED (
    SELECT *
    FROM claim
    WHERE repeated
       OR num_nonnulls(:west, :since, :until, :exclude, :max_per_observation, :max_per_observer) > 0
),
-- include: judged.sql
,
counted AS NOT MATERIALIZED (
    SELECT class_taxon_id,
-- include: reason.sql
           AS reason,
           photos
    FROM (
        SELECT claim_count.*,
-- include: class.sql
               AS class_taxon_id, CAST(NULL AS text[]) AS conflict, CAST(NULL AS bigint) AS photo_id,
               CAST(NULL AS date) AS observed_on, CAST(NULL AS double precision) AS latitude,
               CAST(NULL AS double precision) AS longitude
        FROM claim_count
        LEFT JOIN taxon_place USING (taxon_id)
    ) AS placed
    WHERE num_nonnulls(:west, :since, :until, :exclude, :max_per_observation, :max_per_observer) = 0
)
SELECT class_taxon_id, reason, CAST(sum(photos) AS bigint) AS photos
FROM (
    SELECT class_taxon_id, reason, 1 AS photos FROM judged
    UNION ALL
    SELECT class_taxon_id, reason, photos FROM counted
) AS each
GROUP BY class_taxon_id, reason;

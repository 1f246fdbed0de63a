-- tally: how many photos each class has, by the reason why they are not available; reason NULL: available.
-- Made before the template runs, which chooses its classes from it.
CREATE TEMPORARY TABLE tally ON COMMIT DROP AS
WITH candidate AS NOT MATERIALIZED (SELECT * FROM claim),
-- include: judged.sql
SELECT class_taxon_id, reason, count(*) AS photos
FROM judged
GROUP BY class_taxon_id, reason;

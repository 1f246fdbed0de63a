-- After the rows of observations, while those of photos are read ahead.
ANALYZE observations;

-- twice: observations that the dump has twice.
CREATE TEMPORARY TABLE twice ON COMMIT DROP AS
SELECT observation_uuid FROM observations GROUP BY observation_uuid HAVING count(*) > 1;
ANALYZE twice;

-- The catalogue of some branches: claims are joined once, at load, since every query reads all of them. They take as much
-- room as the indexes that the join would need.
ALTER VIEW claim RENAME TO claim_joined;
CREATE TABLE claim AS TABLE claim_joined;
DROP VIEW claim_joined;

CREATE INDEX ON claim (photo_id) WHERE repeated;
ANALYZE claim;

-- claim_count: the claims of photos that stand in one row, counted by all that a query can ask for but place, day, photo
-- and observer: a query that asks for none of these counts nothing itself.
CREATE TABLE claim_count AS
SELECT taxon_id, quality_grade, license, max(extension) AS extension, elsewhere, count(*) AS photos
FROM claim
WHERE NOT repeated
GROUP BY taxon_id, quality_grade, license, extension IS NULL, elsewhere;
ANALYZE claim_count;

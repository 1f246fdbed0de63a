-- The catalogue of some branches: claims are joined once, at load, since every query reads all of them. They take as much
-- room as the indexes that the join would need.
ALTER VIEW claim RENAME TO claim_joined;
CREATE TABLE claim AS TABLE claim_joined;
DROP VIEW claim_joined;

CREATE INDEX ON claim (photo_id) WHERE repeated;
ANALYZE claim;

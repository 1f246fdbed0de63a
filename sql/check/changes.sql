-- What a load changes: the catalogue in use (inaturalist) against the one that is about to replace it
-- (inaturalist_incoming), both filled. Makes the table inaturalist_incoming.changes, one row a change.
--
-- A photo that is gone is no longer in the catalogue; load-csvs then looks whether it still stands in the dump, under
-- an observation that is not kept (another grade or taxon now), and writes photo_not_kept instead.
-- A swapped taxon has become inactive: its observations moved on, mostly to the taxon that `after` names.

CREATE TABLE inaturalist_incoming.changes (
    change           text NOT NULL,
    photo_id         bigint,
    observation_uuid uuid,
    taxon_id         bigint,
    before           text,
    after            text
);

INSERT INTO inaturalist_incoming.changes (change, photo_id, observation_uuid, before)
SELECT DISTINCT ON (photo_id) 'photo_gone', photo_id, observation_uuid, license
FROM inaturalist.photos AS old
WHERE NOT EXISTS (SELECT FROM inaturalist_incoming.photos AS new WHERE new.photo_id = old.photo_id)
ORDER BY photo_id, observation_uuid;

INSERT INTO inaturalist_incoming.changes (change, photo_id, observation_uuid, after)
SELECT DISTINCT ON (photo_id) 'photo_added', photo_id, observation_uuid, license
FROM inaturalist_incoming.photos AS new
WHERE NOT EXISTS (SELECT FROM inaturalist.photos AS old WHERE old.photo_id = new.photo_id)
ORDER BY photo_id, observation_uuid;

INSERT INTO inaturalist_incoming.changes (change, photo_id, observation_uuid, before, after)
SELECT 'photo_relicensed', photo_id, new.observation_uuid, old.license, new.license
FROM (SELECT photo_id, string_agg(DISTINCT license, ', ') AS license    -- one, unless the dump contradicts itself
      FROM inaturalist.photos GROUP BY photo_id) AS old
JOIN (SELECT photo_id, min(CAST(observation_uuid AS text))::uuid AS observation_uuid,
             string_agg(DISTINCT license, ', ') AS license
      FROM inaturalist_incoming.photos GROUP BY photo_id) AS new USING (photo_id)
WHERE old.license IS DISTINCT FROM new.license;

INSERT INTO inaturalist_incoming.changes (change, taxon_id, before, after)
SELECT 'taxon_swapped', old.taxon_id, old.name, moved.name
FROM inaturalist.taxa AS old
JOIN inaturalist_incoming.taxa AS new USING (taxon_id)
LEFT JOIN LATERAL (
    SELECT mode() WITHIN GROUP (ORDER BY there.name) AS name
    FROM inaturalist.observations AS was
    JOIN inaturalist_incoming.observations AS is_now USING (observation_uuid)
    JOIN inaturalist_incoming.taxa AS there ON there.taxon_id = is_now.taxon_id
    WHERE was.taxon_id = old.taxon_id
      AND is_now.taxon_id <> old.taxon_id
) AS moved ON true
WHERE old.active
  AND NOT new.active;

INSERT INTO inaturalist_incoming.changes (change, taxon_id, before, after)
SELECT 'taxon_renamed', taxon_id, old.name, new.name
FROM inaturalist.taxa AS old
JOIN inaturalist_incoming.taxa AS new USING (taxon_id)
WHERE old.name IS DISTINCT FROM new.name;

INSERT INTO inaturalist_incoming.changes (change, taxon_id, before, after)
SELECT 'taxon_moved', taxon_id, old.ancestry, new.ancestry
FROM inaturalist.taxa AS old
JOIN inaturalist_incoming.taxa AS new USING (taxon_id)
WHERE old.ancestry IS DISTINCT FROM new.ancestry;

-- Not those whose taxon was swapped: nobody looked at them again.
INSERT INTO inaturalist_incoming.changes (change, observation_uuid, taxon_id, before, after)
SELECT 'observation_reidentified', observation_uuid, new.taxon_id, old_taxon.name, new_taxon.name
FROM (SELECT observation_uuid, min(taxon_id) AS taxon_id
      FROM inaturalist.observations GROUP BY observation_uuid) AS old
JOIN (SELECT observation_uuid, min(taxon_id) AS taxon_id
      FROM inaturalist_incoming.observations GROUP BY observation_uuid) AS new USING (observation_uuid)
LEFT JOIN inaturalist.taxa AS old_taxon ON old_taxon.taxon_id = old.taxon_id
LEFT JOIN inaturalist_incoming.taxa AS new_taxon ON new_taxon.taxon_id = new.taxon_id
WHERE old.taxon_id IS DISTINCT FROM new.taxon_id
  AND NOT EXISTS (
    SELECT FROM inaturalist_incoming.changes AS swapped
    WHERE swapped.change = 'taxon_swapped' AND swapped.taxon_id = old.taxon_id
  );

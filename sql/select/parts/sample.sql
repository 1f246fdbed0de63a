-- A seeded sample of each class of `class` (class_taxon_id, photos), from `judged`: one row per photo.
--
-- :per_class            bigint            photos wanted of each class
-- :reserve              bigint            further photos of each class that may fill holes
ranked AS (                 -- the CASE says no more than IS NULL, of which the planner expects one row in 200
    SELECT *, row_number() OVER (PARTITION BY class_taxon_id ORDER BY draw, photo_id) AS rank_in_class
    FROM judged
    WHERE CASE WHEN reason IS NULL THEN true END
),
observer AS (               -- one row each, should the dump have two
    SELECT DISTINCT ON (observer_id)
           observer_id, coalesce(nullif(trim(name), ''), nullif(trim(login), '')) AS name
    FROM observers
    ORDER BY observer_id, login, name
)
SELECT ranked.photo_id,
       ranked.photo_uuid,
       ranked.observation_uuid,
       CASE WHEN ranked.repeated THEN (
           SELECT string_agg(CAST(other AS text), ' ' ORDER BY CAST(other AS text))
           FROM several CROSS JOIN LATERAL unnest(several.observations) AS other
           WHERE several.photo_id = ranked.photo_id
             AND other <> ranked.observation_uuid)
       END AS other_observations,
       ranked.observer_id,
       ranked.taxon_id,
       taxon.name AS taxon_name,
       class_taxon.name AS class_name,
       ranked.class_taxon_id,
       ranked.rank_in_class,
       ranked.extension,
       ranked.license,
       CASE ranked.license
           WHEN 'CC0' THEN credit.name || ', no rights reserved (CC0)'
           WHEN 'PD' THEN credit.name || ', no known copyright restrictions (PD)'
           ELSE '© ' || credit.name || ', some rights reserved (' || ranked.license || ')'
       END AS attribution,
       ranked.latitude,
       ranked.longitude,
       ranked.observed_on
FROM ranked
JOIN class USING (class_taxon_id)
JOIN taxa AS class_taxon ON class_taxon.taxon_id = ranked.class_taxon_id
JOIN taxa AS taxon ON taxon.taxon_id = ranked.taxon_id
LEFT JOIN observer ON observer.observer_id = ranked.observer_id
CROSS JOIN LATERAL (SELECT coalesce(observer.name, 'iNaturalist user ' || ranked.observer_id) AS name) AS credit
WHERE ranked.rank_in_class <= :per_class + :reserve
ORDER BY class.photos DESC, ranked.class_taxon_id, ranked.rank_in_class;

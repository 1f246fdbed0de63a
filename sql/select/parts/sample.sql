-- A seeded sample of each class of `class` (class_taxon_id, photos), from `judged`: one row per photo.
--
-- :per_class            bigint            photos wanted of each class
-- :reserve              bigint            further photos of each class that may fill holes
near AS MATERIALIZED (      -- of a large class only the draws that can be among the first, so that few are sorted: five
                            -- deviations and twenty more than are wanted; the CASE says no more than IS NULL, of which
                            -- the planner expects one row in 200
    SELECT judged.*
    FROM judged
    JOIN class USING (class_taxon_id)
    WHERE CASE WHEN reason IS NULL THEN true END
      AND CAST(draw AS double precision) * class.photos
          < 2147483647 * (:per_class + :reserve + 5 * sqrt(:per_class + :reserve) + 20)
),
lacking AS MATERIALIZED (   -- should chance have left too few of a class, all of it is sorted
    SELECT class_taxon_id
    FROM class
    LEFT JOIN (SELECT class_taxon_id, count(*) AS found FROM near GROUP BY class_taxon_id) AS counted
        USING (class_taxon_id)
    WHERE coalesce(found, 0) < least(class.photos, :per_class + :reserve)
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY class_taxon_id ORDER BY draw, photo_id) AS rank_in_class
    FROM (
        SELECT * FROM near
        WHERE class_taxon_id <> ALL (ARRAY(SELECT class_taxon_id FROM lacking))
        UNION ALL
        SELECT * FROM judged
        WHERE EXISTS (SELECT FROM lacking)
          AND class_taxon_id = ANY (ARRAY(SELECT class_taxon_id FROM lacking))
          AND CASE WHEN reason IS NULL THEN true END
    ) AS enough
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
WHERE ranked.rank_in_class <= :per_class + :reserve;

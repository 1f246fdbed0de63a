-- A seeded sample of each class of `class` (class_taxon_id, photos), from `judged`: one row per photo.
-- `query` puts names and attribution beside the rows: columns that a SELECT does not give.
--
-- :per_class            bigint            photos wanted of each class
-- :reserve              bigint            further photos of each class that may fill holes
near AS MATERIALIZED (      -- of a large class only the draws that can be among the first, so that few are sorted: five
                            -- deviations and twenty more than are wanted. Arrays are known before the rows are read,
                            -- so that workers can share the reading; and the draw is asked before the reason, which
                            -- takes longer
    SELECT *
    FROM (
        SELECT photo_id, photo_uuid, observation_uuid, repeated, observer_id, taxon_id, class_taxon_id, extension, license,
               latitude, longitude, observed_on,
               row_number() OVER (PARTITION BY class_taxon_id ORDER BY draw, photo_id) AS rank_in_class
        FROM judged
        JOIN unnest(ARRAY(SELECT class_taxon_id FROM class ORDER BY class_taxon_id),
                    ARRAY(SELECT photos FROM class ORDER BY class_taxon_id)) AS chosen (class_taxon_id, photos)
            USING (class_taxon_id)
        WHERE CASE WHEN CAST(draw AS double precision) * chosen.photos
                        < 2147483647 * (:per_class + :reserve + 5 * sqrt(:per_class + :reserve) + 20)
                   THEN reason IS NULL END
    ) AS numbered
    WHERE rank_in_class <= :per_class + :reserve
),
lacking AS MATERIALIZED (   -- should chance have left too few of a class, all of it is sorted
    SELECT class_taxon_id
    FROM class
    LEFT JOIN (SELECT class_taxon_id, count(*) AS found FROM near GROUP BY class_taxon_id) AS counted
        USING (class_taxon_id)
    WHERE coalesce(found, 0) < least(class.photos, :per_class + :reserve)
),
ranked AS (
    SELECT *
    FROM near
    WHERE class_taxon_id <> ALL (ARRAY(SELECT class_taxon_id FROM lacking))
    UNION ALL
    SELECT *
    FROM (
        SELECT photo_id, photo_uuid, observation_uuid, repeated, observer_id, taxon_id, class_taxon_id, extension, license,
               latitude, longitude, observed_on,
               row_number() OVER (PARTITION BY class_taxon_id ORDER BY draw, photo_id) AS rank_in_class
        FROM judged
        WHERE class_taxon_id = ANY (ARRAY(SELECT class_taxon_id FROM lacking))
          AND reason IS NULL
    ) AS numbered
    WHERE rank_in_class <= :per_class + :reserve
      AND EXISTS (SELECT FROM lacking)
)
SELECT photo_id,
       photo_uuid,
       observation_uuid,
       CASE WHEN repeated THEN (
           SELECT string_agg(CAST(other AS text), ' ' ORDER BY CAST(other AS text))
           FROM several CROSS JOIN LATERAL unnest(several.observations) AS other
           WHERE several.photo_id = ranked.photo_id
             AND other <> ranked.observation_uuid)
       END AS other_observations,
       observer_id,
       taxon_id,
       class_taxon_id,
       rank_in_class,
       extension,
       license,
       latitude,
       longitude,
       observed_on
FROM ranked;

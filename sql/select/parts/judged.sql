-- judged: every photo of `candidate` (rows of `claim`) once, with its class, and the first reason why it is not available, or NULL.
--
-- :max_per_observation  bigint            photos of one observation at most; NULL for all
-- :max_per_observer     bigint            photos of one observer in one class at most; NULL for all
-- :seed                 text              another seed draws another sample
--
-- draw orders the photos at random: a polynomial of degree 3 in photo_id over the integers modulo the prime 2^31 - 1,
-- its coefficients taken from the seed (Wegman and Carter, doi.org/10.1016/0022-0000(81)90033-7: any four photos are
-- drawn independently). Plain arithmetic gives the same order on every platform, version and collation.
placed AS NOT MATERIALIZED (
    SELECT *,
-- include: class.sql
           AS class_taxon_id
    FROM candidate
),
single AS NOT MATERIALIZED ( -- each photo once: of several rows the one that comes furthest
    SELECT * FROM placed WHERE NOT repeated
    UNION ALL
    (SELECT DISTINCT ON (photo_id) *
     FROM placed
     WHERE repeated
     ORDER BY photo_id,
              array_position(ARRAY[
                  'other_quality_grade', 'no_class_at_this_rank', 'on_two_classes',
                  'also_in_an_observation_outside_the_catalogue', 'outside_the_taxon', 'other_license',
                  'without_a_file_extension', 'without_coordinates', 'outside_the_region', 'without_a_date',
                  'outside_the_dates', 'excluded', 'of_an_excluded_observation'],
-- include: reason.sql
              ) DESC NULLS FIRST,
              observation_uuid)
),
drawn AS NOT MATERIALIZED (
    SELECT *,
-- include: reason.sql
           AS reason,
           (((CAST(CAST('x' || substr(md5(:seed), 1, 7) AS bit(28)) AS bigint) * (photo_id % 2147483647)
              + CAST(CAST('x' || substr(md5(:seed), 8, 7) AS bit(28)) AS bigint)) % 2147483647 * (photo_id % 2147483647)
             + CAST(CAST('x' || substr(md5(:seed), 15, 7) AS bit(28)) AS bigint)) % 2147483647 * (photo_id % 2147483647)
            + CAST(CAST('x' || substr(md5(:seed), 22, 7) AS bit(28)) AS bigint)) % 2147483647 AS draw
    FROM single
),
capped AS NOT MATERIALIZED (
    SELECT * FROM drawn
-- only with max_per_observation:
    WHERE :max_per_observation IS NULL
    UNION ALL
    SELECT photo_id, species_id, genus_id, family_id, taxon_id, observer_id, photo_uuid, observation_uuid, latitude,
           longitude, observed_on, elsewhere, repeated, quality_grade, license, extension, conflict, class_taxon_id,
           coalesce(reason, CASE WHEN turn > :max_per_observation THEN 'over_max_per_observation' END) AS reason,
           draw
    FROM (SELECT *, row_number() OVER (PARTITION BY class_taxon_id, observation_uuid, reason IS NULL
                                       ORDER BY draw, photo_id) AS turn
          FROM drawn WHERE :max_per_observation IS NOT NULL) AS numbered
-- end
),
judged AS NOT MATERIALIZED (
    SELECT * FROM capped
-- only with max_per_observer:
    WHERE :max_per_observer IS NULL
    UNION ALL
    SELECT photo_id, species_id, genus_id, family_id, taxon_id, observer_id, photo_uuid, observation_uuid, latitude,
           longitude, observed_on, elsewhere, repeated, quality_grade, license, extension, conflict, class_taxon_id,
           coalesce(reason, CASE WHEN turn > :max_per_observer THEN 'over_max_per_observer' END) AS reason,
           draw
    FROM (SELECT *, row_number() OVER (PARTITION BY class_taxon_id, observer_id, reason IS NULL
                                       ORDER BY draw, photo_id) AS turn
          FROM capped WHERE :max_per_observer IS NOT NULL) AS numbered
-- end
)

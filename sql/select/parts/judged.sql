-- judged: every photo of `candidate` (rows of `claim`) once, with its class, and the first reason why it is not available, or NULL.
--
-- :rank                 text              species, genus or family: what a class is
-- :quality              text              quality grade of the observation: research, needs_id, casual or any
-- :taxa                 bigint[]          only taxa at or below these; NULL for all
-- :licenses             text[]            licences that are accepted
-- :exclude              bigint[]          photos of an earlier dataset, to be left out with their observations; NULL: none
-- :west                 double precision  the region's western edge in degrees; NULL for the whole world
-- :south                double precision  its southern edge
-- :east                 double precision  its eastern edge; less than west: the region lies across the 180th meridian
-- :north                double precision  its northern edge
-- :since                date              first day of observation; NULL for any
-- :until                date              last day of observation; NULL for any
-- :max_per_observation  bigint            photos of one observation at most; NULL for all
-- :max_per_observer     bigint            photos of one observer in one class at most; NULL for all
-- :seed                 text              another seed draws another sample
--
-- A photo of which observations of any grade contradict each other is no example of a class; one that also stands in an
-- observation outside the catalogue may be; one without a file extension has no address in the bucket; one of whose
-- observations any holds an excluded photo shows what that one shows, whichever row is judged.
-- draw orders the photos at random: a polynomial of degree 3 in photo_id over the integers modulo the prime 2^31 - 1,
-- its coefficients taken from the seed (Wegman and Carter, doi.org/10.1016/0022-0000(81)90033-7: any four photos are
-- drawn independently). Plain arithmetic gives the same order on every platform, version and collation.
weighed AS NOT MATERIALIZED (
    SELECT placed.*,
           CASE
               WHEN :quality <> 'any' AND quality_grade IS DISTINCT FROM :quality THEN 'other_quality_grade'
               WHEN class_taxon_id IS NULL THEN 'no_class_at_this_rank'
               WHEN :rank = ANY (conflict) THEN 'on_two_classes'
               WHEN elsewhere THEN 'also_in_an_observation_outside_the_catalogue'
               WHEN :taxa IS NOT NULL AND taxon_id NOT IN (
                   SELECT taxon_id FROM taxa
                   WHERE taxon_id = ANY (:taxa)
                      OR CAST(array_remove(string_to_array(ancestry, '/'), '') AS bigint[]) && :taxa)
                   THEN 'outside_the_taxon'
               WHEN license = ANY (:licenses) IS NOT TRUE THEN 'other_license'
               WHEN extension IS NULL THEN 'without_a_file_extension'
               WHEN :west IS NOT NULL AND (latitude IS NULL OR longitude IS NULL) THEN 'without_coordinates'
               WHEN :west IS NOT NULL AND NOT (
                   latitude BETWEEN :south AND :north
                   AND CASE WHEN :west <= :east THEN longitude BETWEEN :west AND :east
                            ELSE longitude >= :west OR longitude <= :east END)
                   THEN 'outside_the_region'
               WHEN (:since IS NOT NULL OR :until IS NOT NULL) AND observed_on IS NULL THEN 'without_a_date'
               WHEN observed_on < :since OR observed_on > :until THEN 'outside_the_dates'
               WHEN photo_id = ANY (:exclude) THEN 'excluded'
               WHEN :exclude IS NOT NULL AND photo_id IN (
                   SELECT photo_id FROM photos WHERE observation_uuid IN (
                       SELECT observation_uuid FROM photos WHERE photo_id = ANY (:exclude)))
                   THEN 'of_an_excluded_observation'
           END AS reason
    FROM (SELECT *, CASE :rank WHEN 'species' THEN species_id
                               WHEN 'genus' THEN genus_id
                               WHEN 'family' THEN family_id END AS class_taxon_id
          FROM candidate) AS placed
),
photo AS NOT MATERIALIZED ( -- each photo once: of several rows the one that came furthest
    SELECT * FROM weighed WHERE NOT repeated
    UNION ALL
    (SELECT DISTINCT ON (photo_id) *
     FROM weighed
     WHERE repeated
     ORDER BY photo_id,
              array_position(ARRAY[
                  'other_quality_grade', 'no_class_at_this_rank', 'on_two_classes',
                  'also_in_an_observation_outside_the_catalogue', 'outside_the_taxon', 'other_license',
                  'without_a_file_extension', 'without_coordinates', 'outside_the_region', 'without_a_date',
                  'outside_the_dates', 'excluded', 'of_an_excluded_observation'], reason) DESC NULLS FIRST,
              observation_uuid)
),
drawn AS NOT MATERIALIZED (
    SELECT *,
           (((CAST(CAST('x' || substr(md5(:seed), 1, 7) AS bit(28)) AS bigint) * (photo_id % 2147483647)
              + CAST(CAST('x' || substr(md5(:seed), 8, 7) AS bit(28)) AS bigint)) % 2147483647 * (photo_id % 2147483647)
             + CAST(CAST('x' || substr(md5(:seed), 15, 7) AS bit(28)) AS bigint)) % 2147483647 * (photo_id % 2147483647)
            + CAST(CAST('x' || substr(md5(:seed), 22, 7) AS bit(28)) AS bigint)) % 2147483647 AS draw
    FROM photo
),
capped AS NOT MATERIALIZED ( -- only the half that is wanted is run, so that no cap costs no sort
    SELECT * FROM drawn WHERE :max_per_observation IS NULL
    UNION ALL
    SELECT photo_id, photo_uuid, observation_uuid, observer_id, extension, license, taxon_id, species_id, genus_id,
           family_id, quality_grade, latitude, longitude, observed_on, elsewhere, repeated, conflict, class_taxon_id,
           coalesce(reason, CASE WHEN turn > :max_per_observation THEN 'over_max_per_observation' END) AS reason,
           draw
    FROM (SELECT *, row_number() OVER (PARTITION BY class_taxon_id, observation_uuid, reason IS NULL
                                       ORDER BY draw, photo_id) AS turn
          FROM drawn WHERE :max_per_observation IS NOT NULL) AS numbered
),
judged AS NOT MATERIALIZED (
    SELECT * FROM capped WHERE :max_per_observer IS NULL
    UNION ALL
    SELECT photo_id, photo_uuid, observation_uuid, observer_id, extension, license, taxon_id, species_id, genus_id,
           family_id, quality_grade, latitude, longitude, observed_on, elsewhere, repeated, conflict, class_taxon_id,
           coalesce(reason, CASE WHEN turn > :max_per_observer THEN 'over_max_per_observer' END) AS reason,
           draw
    FROM (SELECT *, row_number() OVER (PARTITION BY class_taxon_id, observer_id, reason IS NULL
                                       ORDER BY draw, photo_id) AS turn
          FROM capped WHERE :max_per_observer IS NOT NULL) AS numbered
)

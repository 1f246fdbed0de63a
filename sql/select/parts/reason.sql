-- The first reason why a row of `claim` with its class is not available, or NULL: an expression.
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
--
-- A photo of which observations of any grade contradict each other is no example of a class; one that also stands in an
-- observation outside the catalogue may be; one without a file extension has no address in the bucket; one of whose
-- observations any holds an excluded photo shows what that one shows, whichever row is judged.
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
END

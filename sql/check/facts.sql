-- Facts about a loaded catalogue that no single row shows. One row; each column is one number.
SELECT
    (SELECT count(*) FROM several)
        AS photos_in_several_rows,
    (SELECT count(*) FROM several WHERE cardinality(observations) > 1)
        AS photos_on_several_observations,
    (SELECT count(*) FROM photos WHERE NOT EXISTS (
        SELECT FROM observations WHERE observations.observation_uuid = photos.observation_uuid))
        AS photos_of_no_observation,
    (SELECT count(*) FROM photos_elsewhere)
        AS photos_also_outside_the_catalogue,
    (SELECT count(*) FROM observations JOIN taxa USING (taxon_id) WHERE NOT taxa.active)
        AS observations_of_inactive_taxa,
    (SELECT count(*) FROM observations LEFT JOIN taxa USING (taxon_id) WHERE taxa.taxon_id IS NULL)
        AS observations_without_a_known_taxon,
    (SELECT count(DISTINCT class_taxon_id) FROM taxon_class WHERE rank = 'species')
        AS species,
    (SELECT count(*) FROM photos LEFT JOIN observers USING (observer_id) WHERE observers.observer_id IS NULL)
        AS photos_without_a_known_observer;

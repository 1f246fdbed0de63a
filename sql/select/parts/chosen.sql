-- candidate: the rows of `claim` in the classes of `class` (class_taxon_id, photos). The array is known before the rows
-- are read, so that workers can share the reading.
--
-- :rank                 text              species, genus or family: what a class is
candidate AS NOT MATERIALIZED (
    SELECT claim.*
    FROM claim
    JOIN taxa AS chosen ON chosen.taxon_id = CASE :rank WHEN 'species' THEN species_id
                                                        WHEN 'genus' THEN genus_id
                                                        WHEN 'family' THEN family_id END
    WHERE chosen.taxon_id = ANY (ARRAY(SELECT class_taxon_id FROM class))
),

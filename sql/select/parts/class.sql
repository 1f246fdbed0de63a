-- The class of a row of `claim`, or of `taxon_place`: an expression.
--
-- :rank                 text              species, genus or family: what a class is
CASE :rank WHEN 'species' THEN species_id
           WHEN 'genus' THEN genus_id
           WHEN 'family' THEN family_id END

-- How each observer is called in the attribution of a photo: by name, by login or by number. One row each, whether the
-- dump has none or two of them.
--
-- :chosen               bigint[]          the observers of the selection
SELECT DISTINCT ON (observer_id)
       observer_id, coalesce(nullif(trim(name), ''), nullif(trim(login), ''), 'iNaturalist user ' || observer_id) AS credit
FROM unnest(:chosen) AS chosen (observer_id)
LEFT JOIN observers USING (observer_id)
ORDER BY observer_id, login, credit;

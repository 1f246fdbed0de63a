-- Why photos of the catalogue are not in the selection: one row a reason, from `tally`; NULL: in a class that was
-- chosen, and drawn unless the class has more than enough.
--
-- :classes              bigint[]          the classes of a list; NULL: the best-covered ones
-- :min_per_class        bigint            classes with fewer available photos are left out
-- :chosen               bigint[]          the classes that were selected
SELECT CASE
           WHEN reason IS NOT NULL THEN reason
           WHEN class_taxon_id = ANY (:chosen) THEN NULL
           WHEN class_taxon_id <> ALL (:classes) THEN 'class_not_in_the_list'
           WHEN photos < :min_per_class THEN 'class_too_small'
           ELSE 'class_not_among_the_best'
       END AS because,
       CAST(sum(photos) AS bigint) AS photos
FROM tally
GROUP BY because;

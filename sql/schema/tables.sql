-- The four upstream tables under their upstream names and column names, and what the queries need beside them.
-- Made in the schema that search_path names first. No keys: photo_id and photo_uuid are not unique upstream,
-- since one photo can stand in several observations.

CREATE TABLE taxa (
    taxon_id   bigint NOT NULL,
    ancestry   text,                -- ids from the root, joined with '/', without the taxon itself
    rank_level double precision,    -- kingdom 70 ... species 10, subspecies 5
    rank       text,
    name       text,
    active     boolean
);

CREATE TABLE observations (
    observation_uuid    uuid NOT NULL,
    observer_id         bigint,
    latitude            double precision,
    longitude           double precision,
    positional_accuracy integer,    -- metres
    taxon_id            bigint,
    quality_grade       text,
    observed_on         date
);

CREATE TABLE photos (
    photo_uuid       uuid NOT NULL,
    photo_id         bigint NOT NULL,
    observation_uuid uuid NOT NULL,
    observer_id      bigint,
    extension        text,
    license          text,
    width            integer,
    height           integer,
    "position"       integer
);

CREATE TABLE observers (
    observer_id bigint NOT NULL,
    login       text,
    name        text
);

-- Photos of this catalogue that stand in an observation outside it as well: another quality grade or another
-- kingdom. What that observation shows is not known here, so such a photo is no safe example of a class.
CREATE TABLE photos_elsewhere (
    photo_id bigint NOT NULL
);

-- Photos that stand in several rows of this catalogue.
CREATE TABLE photos_repeated (
    photo_id bigint NOT NULL
);

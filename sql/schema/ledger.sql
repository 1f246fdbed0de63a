-- What was loaded, when, from where. Outlives the catalogue's swaps. Safe to run again.
CREATE SCHEMA IF NOT EXISTS shroomcurate;

CREATE TABLE IF NOT EXISTS shroomcurate.load_ledger (
    load_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    loaded_at   timestamptz NOT NULL DEFAULT now(),
    version     text NOT NULL,      -- of shroomcurate
    source      text NOT NULL,      -- folder, bundle, files or URLs, as a shell reads them
    fingerprint text NOT NULL,      -- sha256 over the tables' sha256 and the scope below
    taxa        bigint[],           -- roots that were kept; NULL: all taxa
    quality     text NOT NULL,      -- research, needs_id, casual or any
    report      jsonb NOT NULL      -- rows read, kept, left out and why, table by table
);

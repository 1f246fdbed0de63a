"""The catalogue: facts about iNaturalist in PostgreSQL, filled from the dumps and read by ``query`` alone."""

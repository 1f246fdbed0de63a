"""Image datasets one can defend, curated from the iNaturalist open data."""

__version__ = "0.1.0"

"""Image datasets one can defend, curated from the iNaturalist open data."""

__version__ = "0.1.0"

from shroomcurate.dataset import Dataset  # which needs the version

__all__ = ["Dataset", "__version__"]

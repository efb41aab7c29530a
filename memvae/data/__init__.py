"""From raw files to one HDF5 file per data set, and what the analyses do to its images. Imports no torch."""

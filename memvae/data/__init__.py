"""From raw files to one HDF5 file per data set; missing pixels for the analyses. Imports no torch."""

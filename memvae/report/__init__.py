"""Tables, figures and the scorecard, made from the HDF5 files of the analyses. Imports no torch."""

"""Tables, figures and the scorecard: from the analyses' HDF5 files to what is read. Imports no torch."""

"""What is measured on a trained model: one module, one HDF5 file each."""

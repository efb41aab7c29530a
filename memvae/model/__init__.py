"""The model of the paper: densities, layers, memory, and the network."""

"""`python -m benchmarks`: what things cost here. `python -m benchmarks gpu` needs torch, numpy and h5py alone."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["gpu"]:
        from benchmarks import gpu

        sys.exit(gpu.main(sys.argv[2:]))
    from benchmarks import tables

    sys.exit(tables.main())

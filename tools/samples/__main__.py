"""`python -m frame_cache_tools.samples OUT`."""

from frame_cache_tools.samples import main

if __name__ == "__main__":
    main()

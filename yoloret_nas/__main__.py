"""`python -m yoloret_nas` is `yoloret-nas`."""

from yoloret_nas.cli import main

if __name__ == "__main__":
    main()

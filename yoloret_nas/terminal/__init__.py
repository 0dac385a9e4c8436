"""yoloret_nas/terminal."""

"""yoloret_nas/options."""

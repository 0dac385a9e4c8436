"""yoloret_nas/export."""

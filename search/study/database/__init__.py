"""A study in Optuna's database: where that is, who may write, and how architectures and notes are kept in it."""

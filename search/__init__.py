"""Which architecture next, where does it run, where is it recorded? Optuna, executors, MLflow."""

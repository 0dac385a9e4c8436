"""The search: which architecture next, where its trial runs, where it is recorded, what the results show.

`driver` runs trials and records them, with `strategy` to propose them, `study` to keep them, `front` to compare them,
`tracking` for MLflow, and `reports` for people.
"""

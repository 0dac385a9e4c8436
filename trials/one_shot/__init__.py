"""One-shot search: weights that all networks of a space share, trained once, of which each trial takes its slice.

`trials.one_shot.training` runs it as the training that comes before a study's first trial. The shared weights themselves are
`spaces.networks.shared_weights`.
"""

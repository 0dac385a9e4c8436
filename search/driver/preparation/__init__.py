"""What a search settles before its first trial: weights at hand, priors, the reference latency, its sampler.

`search.driver.search` uses each; none starts a trial.
"""

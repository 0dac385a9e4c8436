"""Write the prior that comes with the tool, from a study of networks drawn at random.

yoloret-nas search --data cards --sampler random --no-prune --budget 50 --epochs 8 --refit 0 --dir FOLDER --study cards
python -m benchmarks.built_in_prior FOLDER/cards
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from search.strategy.accuracy import built_in_prior
from search.strategy.accuracy.belief import learn_prior
from search.study.prior import BUILT_IN
from search.study.read_study import read_study


def main() -> None:
    """Write the file, a trial a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="its folder")
    parser.add_argument(
        "--dataset", default="252 photographs of playing cards, 8 epochs", help="what reports call its data"
    )
    given = parser.parse_args()
    study = given.study.resolve()
    prior = learn_prior(read_study(study.parent, study.name))
    rounded = [replace(one, ap=round(one.ap, 4), latency_ms=round(one.latency_ms, 4)) for one in prior.trials]
    values = replace(prior, study=BUILT_IN, dataset=given.dataset, trials=tuple(rounded)).to_dict()
    trials = ",\n".join(json.dumps(trial) for trial in values.pop("trials"))
    file = Path(built_in_prior.__file__).with_name(built_in_prior.FILE)
    file.write_text(f'{json.dumps(values)[:-1]}, "trials": [\n{trials}\n]}}\n', encoding="utf-8")
    print(f"wrote {file}: {len(rounded)} trials")


if __name__ == "__main__":
    main()

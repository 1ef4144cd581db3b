# make demo    sets up .venv and tags the sample gallery with the bundled model
# make test    the same environment with the test tools: lint, types, tests
# make stress  the slow tests; all others in a slow browser, on examples that nobody has seen; 20 minutes of fuzzing a parser
# make fuzz    fuzzes the parsers guided by coverage, SECONDS=180 each, one a core, and keeps what reaches more (tests/fuzz/corpus)
# make hub     tries out every model of the hub (fetches some 16 GB) and writes docs/hub.md; what cannot be had is skipped
# make docs    writes what the docs show (README, command reference, schema) anew from the code
# make site    builds the docs site into build/site; a broken link fails
# make lowest  installs the lowest versions that pyproject.toml allows into build/lowest and runs the quick tests there
# make audit   asks a vulnerability service about the versions that an installation today would get (needs network)
# make sbom    writes dist/cartag.cdx.json, the bill of materials of those versions (CycloneDX)
# make clean   removes .venv and what the demo wrote

# The first of these that runs and is new enough: a name on the PATH may be a version manager's stand-in that only complains.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
GALLERY := data/gallery
MM := $(BIN)/cartag

.PHONY: demo test lint stress fuzz hub docs site lowest audit sbom clean

.venv/made:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed, none was found"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "make: cannot make .venv; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

.venv/installed: .venv/made pyproject.toml
	@echo "installing cartag into .venv (the first time fetches torch with CUDA, about 5.6 GB; see README for a CPU-only torch)"
	@$(PIP) --editable .
	@touch $@

.venv/installed-test: .venv/installed pyproject.toml
	@echo "installing the test tools into .venv"
	@$(PIP) --editable '.[test]'
	@touch $@

define show
@printf '\n$$ %s\n' '$(1)'
@PATH="$(CURDIR)/$(BIN):$$PATH" sh -c '$(1)'
endef

# Like grep, find exits with 1 when nothing matched: an answer, no failure.
define ask
$(call show,$(1)) || [ $$? -eq 1 ]
endef

demo: .venv/installed
	@echo
	@echo "The 37 pictures of $(GALLERY) are drawings made by this project; the answers are those of the bundled model, mini."
	$(call show,cartag tag $(GALLERY) --model mini)
	$(call show,cartag show $(GALLERY))
	$(call ask,cartag find $(GALLERY) pagani)
	$(call ask,cartag find $(GALLERY) huayra --min-score 0.3 --format table)
	$(call show,cartag eval $(GALLERY) $(GALLERY)/labels.csv)
	@echo
	@echo "These figures are on drawings; models/mini/README.md has those on photographs."
	@echo "The index is $(GALLERY)/cartag.json. Your own photos: $(MM) tag FOLDER --model mini"

test: .venv/installed-test lint
	@$(BIN)/python -m pytest -n auto --dist loadfile -m 'not stress'

lint: .venv/installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

stress: .venv/installed-test
	@$(BIN)/python -m pytest -m stress
	@SLOW_BROWSER=4 $(BIN)/python -m pytest -n auto --dist loadfile -m 'not stress' --hypothesis-profile random
	@$(MAKE) --no-print-directory fuzz SECONDS=1200

SECONDS ?= 180
.venv/installed-fuzz: .venv/installed-test pyproject.toml
	@$(PIP) --editable '.[test,fuzz]'
	@touch $@

fuzz: .venv/installed-fuzz
	@$(BIN)/python tests/fuzz/run.py all --seconds $(SECONDS) --keep

hub: .venv/installed-test
	@$(BIN)/python -m benchmarks.hub --write docs/hub.md
	@HUB_TESTS=1 $(BIN)/python -m pytest -rs tests/encoder/test_hub_checkpoints.py

docs: .venv/installed-test
	@$(BIN)/python docs/render.py --write
	@$(BIN)/python docs/screenshots.py

# Tools with virtual environments of their own: their dependencies are not cartag's.
build/tools-%/made: .venv/made pyproject.toml
	@.venv/bin/python -m venv build/tools-$*
	@build/tools-$*/bin/python -m pip install --quiet --disable-pip-version-check \
	  $$(.venv/bin/python -c 'import sys, tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"][sys.argv[1]])' $*)
	@touch $@

site: build/tools-site/made
	@build/tools-site/bin/zensical build --strict
	@.venv/bin/python docs/check_site.py build/site

# Tests that compare what newer tools print, and the record of a recipe that may be at work, say nothing of versions.
lowest: build/tools-release/made
	@build/tools-release/bin/uv venv --quiet --clear --python .venv/bin/python build/lowest
	@build/tools-release/bin/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct '.[test]'
	@PYTHONPATH="$(CURDIR)" build/lowest/bin/python -m pytest -n auto --dist loadfile -m 'not stress' \
	  --deselect tests/project/test_docs.py::test_what_the_docs_show_is_what_the_code_prints

build/requirements.txt: build/tools-release/made pyproject.toml
	@build/tools-release/bin/uv pip compile --quiet --python .venv/bin/python --generate-hashes --no-header --no-annotate \
	  --output-file $@ pyproject.toml

audit: build/requirements.txt
	@build/tools-release/bin/pip-audit --strict --requirement $< --disable-pip --require-hashes

sbom: build/requirements.txt
	@mkdir -p dist
	@build/tools-release/bin/cyclonedx-py requirements $< --pyproject pyproject.toml --output-reproducible \
	  --of JSON --output-file dist/cartag.cdx.json 2>/dev/null
	@echo dist/cartag.cdx.json

clean:
	rm -rf .venv build dist $(GALLERY)/cartag.json $(GALLERY)/.cartag

# Everything a newcomer needs. The environment is .venv in this folder; python3 must be 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO_MODEL := reader-1.5b

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.PHONY: demo walk test check bench docs environment

demo: $(READY)
	$(BIN)/xgen pull $(DEMO_MODEL)
	$(BIN)/xgen read docs/xgen-7b.md --model $(DEMO_MODEL) --summarize \
		--ask "Who released XGen-7B?" \
		--ask "Under which licence is the instruct model released?" \
		--ask "What does pre-training on one trillion tokens cost?" \
		--ask "Which of the models may be used commercially?"

# From two packages to a model that reads, by the commands of docs/train.md: ten minutes on two cores.
walk: $(READY)
	$(BIN)/xgen data build recipes/corpus-tiny.toml
	$(BIN)/xgen data plan recipes/tiny.toml
	$(BIN)/xgen train recipes/tiny.toml --out runs/tiny
	$(BIN)/xgen plot runs/tiny
	$(BIN)/xgen data trace runs/tiny --step 5
	$(BIN)/xgen read docs/xgen-7b.md --model runs/tiny/model --ask "Who released XGen-7B?"

# The tests read with two real models; a test marked `model` skips, saying so, where they are not on disk.
test: $(READY)
	$(BIN)/xgen pull smollm2
	$(BIN)/xgen pull qwen-0.5b
	$(BIN)/pytest

check: $(READY)
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python bench/reading.py

docs: $(READY)
	$(BIN)/python -m xgen.cli.manual docs/cli.md

environment: $(READY)

# A stamp, so that a second call is instant; made anew when the pins or the package's own description change.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "xgen needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $(READY)

# The two commands that always work: `make demo` and `make test`. The rest is for developers.
.PHONY: help setup weights demo test lint protos wheel ci clean

help:            ## Says what can be made
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup:           ## Makes .venv with everything in it
	@scripts/setup

weights: setup   ## Brings the embedded weights
	@scripts/weights

demo: weights    ## Answers one question on a scanned invoice and one on a voice memo, with evidence
	@.venv/bin/triptych demo

test: weights    ## Runs all tests: real Redis, real workers, real weights
	@.venv/bin/python -m pytest -q $(ARGS)

lint: setup      ## Style, types, import contracts, fresh stubs
	@scripts/lint

protos: setup    ## Regenerates the stubs of the contract
	@scripts/protos

wheel: setup     ## Builds the wheel and tries it without extras
	@scripts/wheel-smoke

ci:              ## What CI runs
	@.ci/run

clean:           ## Removes what can be made again (not the weights)
	@rm -rf .venv dist build demo-out .mypy_cache .hypothesis .ruff_cache .pytest_cache .import_linter_cache

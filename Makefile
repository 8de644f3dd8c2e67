# Every target sets up what it needs; the only requirements are Python 3.11, make and g++.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo compare-all results docs test coverage test-wheel lint bench clean

demo: .venv/ready
	$(BIN)/spikeproof demo

# Every configuration for the digits: 24 minutes of processor time.
compare-all: .venv/ready
	$(BIN)/spikeproof compare digits --suite quick --eps 0.05,0.1,0.15 --out runs/digits

# Every number of docs/results.md: two networks at a time, one thread each. Stopped, it goes on where it was.
COMPARED := ann standard adversarial rat converted rsc stable_potential sparse_gradient sparse_gradient_adversarial \
	soft_reset two_phases
IMAGES := 500
SETTINGS = --draws 4 --images $(IMAGES) --seeds 3

results: $(patsubst %,results/%.json,cifar10_small fashion_mnist nmnist_flips nmnist_edits nmnist_retiming coding)

results/cifar10_small.json: MEASURED := 8/255
results/fashion_mnist.json: MEASURED := 0.1
results/fashion_mnist.json: IMAGES := 250
results/%.json: .venv/ready
	for suite in standard habit; do printf '%s\n' $(COMPARED:%=$*/%) | OMP_NUM_THREADS=1 xargs -P 2 -I{} \
		$(BIN)/spikeproof compare {} --out runs/$* --eps $(MEASURED) --suite $$suite $(SETTINGS) || exit 1; done
	$(BIN)/spikeproof probe runs/$* --eps $(MEASURED)
	$(BIN)/spikeproof energy runs/$* --eps $(MEASURED)
	$(BIN)/spikeproof report runs/$* --out runs/$*/report.html
	$(BIN)/spikeproof report runs/$* --verdicts standard --out results/$*.md
	$(BIN)/spikeproof report runs/$* --verdicts habit --out results/$*_habit.json
	$(BIN)/spikeproof report runs/$* --verdicts standard --out $@
	$(BIN)/python -m benchmarks.kept $@ results/$*_habit.json --out docs/kept_$*.svg

# Those of docs/events.md: five splits of recordings, three threats, one run folder.
RECORDED := adversarial sparse_gradient_adversarial stable_potential standard filtered
results/nmnist_%.json: SUITE := events_standard
results/nmnist_%.json: RECORDINGS := 100
results/nmnist_flips.json: THREAT := EventFlips
results/nmnist_flips.json: WITHIN := --eps 10,40
results/nmnist_edits.json: THREAT := EventEdits
results/nmnist_edits.json: WITHIN := --eps 20 --threat.most 1
results/nmnist_retiming.json: THREAT := Retiming
results/nmnist_retiming.json: WITHIN := --eps 1
results/nmnist_retiming.json: SUITE := retiming
results/nmnist_retiming.json: RECORDINGS := 50
results/nmnist_%.json: .venv/ready
	printf '%s\n' $(RECORDED:%=nmnist/%) | OMP_NUM_THREADS=1 xargs -P 2 -I{} \
		$(BIN)/spikeproof compare {} --out runs/nmnist --threat $(THREAT) $(WITHIN) --suite $(SUITE) --images $(RECORDINGS) --seeds 5
	$(BIN)/spikeproof energy runs/nmnist --threat FrameLinf --eps 0.1 --images 100
	$(BIN)/spikeproof report runs/nmnist --verdicts $(SUITE)-$(THREAT) --out $(@:.json=.md)
	$(BIN)/spikeproof report runs/nmnist --verdicts $(SUITE)-$(THREAT) --out $@

results/coding.json: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/spikeproof compare coding --out runs/coding --eps 0.1 --draws 4 --images 100 --seeds 3
	$(BIN)/spikeproof energy runs/coding --eps 0.1 --images 100
	$(BIN)/spikeproof report runs/coding --out $(@:.json=.md)
	$(BIN)/spikeproof report runs/coding --out $@

# The documentation site with its leaderboards, in build/site; a warning is an error.
docs: .venv/ready-for-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html -d build/doctrees docs build/site

test: .venv/ready-for-tests lint
	$(BIN)/pytest -n 2

# The same tests, and which lines they reach: two fifths slower.
coverage: .venv/ready-for-tests
	$(BIN)/pytest -n 2 --cov=spikeproof --cov-report=term:skip-covered

test-wheel: .venv/ready
	$(BIN)/python -m tests.install --demo

lint: .venv/ready-for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready-for-tests
	$(BIN)/python -m benchmarks

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/ready-for-tests: .venv/ready requirements-peers.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps -r requirements-peers.txt
	touch $@

.venv/ready-for-docs: .venv/ready
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

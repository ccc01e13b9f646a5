# The two commands a newcomer needs are `make demo` and `make test`; both set up everything they use.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Where pip finds torch besides PyPI, for example https://download.pytorch.org/whl/cpu for a build without CUDA.
TORCH_INDEX ?=
ASSETS ?= procedural
# Processes that run the tests of `make test`, a file of tests at a time.
TEST_PROCESSES ?= 2
IMAGENET ?=
# The other Blender of `make test-blender`: requirements.txt has the usual one.
BLENDER ?= 4.5.15
BLENDER_VENV := $(VENV)-blender-$(BLENDER)
# Extra words for `vosforge demo`, for example ARGS="--video path/to/JPEGImages/480p/car", or for `bench-render`.
ARGS ?=

.PHONY: help demo small test test-all test-blender bench bench-loading bench-remote bench-render bench-scaling bench-modules \
  bench-memory bench-farm bench-faults bench-networks bench-long-video bench-training lint setup clean

help:
	@echo "make demo   [ASSETS=sweethome3d] [ARGS=...]  set up, then render, train a little, segment, report"
	@echo "make small  [IMAGENET=FILE] [ARGS=...]       render for the small networks, and train them (2 hours)"
	@echo "make test                                    set up, then lint, types, import rules and the quick tests"
	@echo "make test-all                                the slow tests as well"
	@echo "make test-blender [BLENDER=4.5.15]           the tests that render, with another Blender in its own environment"
	@echo "make bench                                   the benchmarks: they produce the figures in docs/figures.md"
	@echo "make bench-render [ASSETS=...] [ARGS=...]    only what rendering costs (the first time hours, for references)"
	@echo "make bench-scaling [ARGS=...]                frames a second by processes and threads, and their memory"
	@echo "make bench-modules [ARGS=...]                what clips of each preset cost, and each module of diverse"
	@echo "make bench-memory [ARGS=...]                 whether a Blender process grows over many videos"
	@echo "make bench-farm [ARGS=...]                   what a farm costs beside Blender: 30,000 videos that render nothing"
	@echo "make bench-faults [ARGS=...]                 45 minutes of rendering while everything is killed, again and again"
	@echo "make bench-networks [ARGS=...]               the runner beside MiVOS's published procedure, seconds a frame"
	@echo "make bench-long-video [ARGS=...]             memory and time of a video of 10,000 frames"
	@echo "make bench-training [ARGS=...]               training steps beside MiVOS's published procedure"
	@echo "make clean                                   remove the virtual environment and the runs"

SMALL_CLIPS := --quality fast --assets sweethome3d --num-meshes 400 --num-textures 200 --frames 8 --seed 1 --passes tracks \
  --set render.width=384 --set render.height=256 --set videos_per_shard=20 --set held_out_assets=0.15

# The small networks: renders their clips (40 minutes on two cores), then trains on them (70 minutes), propagation at last
# on clips of `diverse`. Run it again to resume. IMAGENET: a file of MobileNetV2's ImageNet weights, where torchvision
# cannot download them.
small: setup
	$(BIN)/vosforge assets install sweethome3d
	$(BIN)/vosforge render runs/small/data --preset clips --videos 600 --set held_out_every=10 $(SMALL_CLIPS)
	$(BIN)/vosforge render runs/small/diverse --preset diverse --set scene.stride=[1,4] --videos 100 \
	  --set held_out_every=8 $(SMALL_CLIPS)
	$(BIN)/vosforge train runs/small/data runs/small/begun --recipe small --network propagation \
	  $(if $(IMAGENET),--set propagation.imagenet=$(IMAGENET)) $(ARGS)
	$(BIN)/vosforge train runs/small/diverse runs/small/networks --recipe small --network propagation \
	  --set propagation.init=runs/small/begun/propagation.pth --set propagation.iterations=400 \
	  --set propagation.lr=3e-4 --set propagation.warmup=20 --set propagation.average=0.99
	$(BIN)/vosforge train runs/small/data runs/small/networks --recipe small --network s2m --network fusion \
	  $(if $(IMAGENET),--set s2m.imagenet=$(IMAGENET)) $(ARGS)

demo: setup
ifneq ($(ASSETS),procedural)
	$(BIN)/vosforge assets install $(ASSETS)
endif
	$(BIN)/vosforge demo --assets $(ASSETS) $(ARGS)

test: setup lint
	@sh tools/system_libraries.sh --browser
	$(BIN)/pytest -m "not slow and not gpu" -n $(TEST_PROCESSES) --dist loadfile

test-all: setup lint
	@sh tools/system_libraries.sh --browser
	$(BIN)/pytest

test-blender: $(BLENDER_VENV)/.ready
	@sh tools/system_libraries.sh
	$(BLENDER_VENV)/bin/python -m pytest -m blender tests/render tests/blender_scenes

$(BLENDER_VENV)/.ready: requirements.txt
	$(PYTHON) -m venv $(@D)
	sed 's/^bpy==.*/bpy==$(BLENDER)/' requirements.txt > $(@D)/requirements.txt
	$(@D)/bin/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r $(@D)/requirements.txt
	@touch $@

bench: bench-loading bench-remote bench-render bench-scaling bench-modules bench-memory bench-farm bench-networks bench-long-video bench-training

bench-loading: setup
	$(BIN)/python -m benchmarks.loading

bench-remote: setup
	$(BIN)/python -m benchmarks.remote_loading

bench-render: setup
ifneq ($(ASSETS),procedural)
	$(BIN)/vosforge assets install $(ASSETS)
endif
	$(BIN)/python -m benchmarks.rendering --assets $(ASSETS) $(ARGS)

bench-scaling: setup
	$(BIN)/python -m benchmarks.scaling --assets $(ASSETS) $(ARGS)

bench-modules: setup
	$(BIN)/python -m benchmarks.modules --assets $(ASSETS) $(ARGS)

bench-memory: setup
	$(BIN)/python -m benchmarks.memory --assets $(ASSETS) $(ARGS)

bench-farm: setup
	$(BIN)/python -m benchmarks.farm runs/bench-farm $(ARGS)

bench-faults: setup
	$(BIN)/python -m benchmarks.faults runs/bench-faults $(ARGS)

bench-networks: setup
	$(BIN)/python -m benchmarks.networks $(ARGS)

bench-long-video: setup
	$(BIN)/python -m benchmarks.long_video $(ARGS)

bench-training: setup
	$(BIN)/python -m benchmarks.training $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/.ready
	@sh tools/system_libraries.sh

$(VENV)/.ready: pyproject.toml requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "VOSForge needs Python 3.11 (Blender's module is built for it): install python3.11 and python3.11-venv, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11: name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: install python3.11-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-blender-* runs build dist *.egg-info

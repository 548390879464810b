# Two commands: `make demo` shows the main job, `make test` checks everything.
PYTHON ?= python3
RUNTIME := .venv
DEV := .venv-dev
AUDIT := .venv-audit

.PHONY: demo test servers translations vendor lint types check kernels wheel gpu models ship bench fuzz lock audit sbom clean help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

KERNELS := setup.py $(wildcard pipeline/detection/mtcnn/native/*)
MODULES := $(shell find pipeline engines training -name '*.py' -o -name '*.onnx' -o -name '*.npy' -o -name '*.json' | LC_ALL=C sort)

# --- the run-time environment: no torch, no CUDA ----------------------------------------------
$(RUNTIME)/.installed: setup.cfg pyproject.toml $(MODULES) $(KERNELS)
	test -x $(RUNTIME)/bin/python || $(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install --quiet --upgrade pip
	$(RUNTIME)/bin/python -m pip install --quiet .
	@touch $@

demo: $(RUNTIME)/.installed  ## install, enrol someone, watch a clip, print who was seen
	$(RUNTIME)/bin/facestream demo --out demo

# --- the developers' environment --------------------------------------------------------------
# The strict editable install links every module, so it is renewed when a module is added or removed.
MODULE_LIST := $(shell printf '%s\n' $(MODULES) | cksum | cut -d' ' -f1)

$(DEV)/.python: constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet --upgrade pip setuptools
	$(DEV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	@touch $@

$(DEV)/.installed-$(MODULE_LIST): $(DEV)/.python setup.cfg pyproject.toml $(KERNELS)
ifdef LOCKED
	$(DEV)/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-test.lock
	$(DEV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . --config-settings editable_mode=strict
else
	$(DEV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test]' --config-settings editable_mode=strict
endif
	@rm -f $(DEV)/.installed-*
	@touch $@

kernels:  ## build the detector's kernels in C in place, as an install does (needs a C compiler)
	$(DEV)/bin/python setup.py --quiet build_ext --inplace

# auditwheel gives the wheel the tag manylinux, and patchelf is what it works with.
wheel: $(DEV)/.python  ## build a wheel for this machine's kind in dist/; for manylinux where auditwheel can be had
	$(DEV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist/built .
	@$(DEV)/bin/python -m pip install --quiet auditwheel patchelf && \
	PATH="$(abspath $(DEV)/bin):$$PATH" $(DEV)/bin/python -m auditwheel repair --wheel-dir dist dist/built/*.whl || \
	{ echo 'auditwheel cannot be had, or finds nothing to do: the wheel is for this system'; cp dist/built/*.whl dist/; }
	@rm -r dist/built

lint: $(DEV)/.installed-$(MODULE_LIST)  ## ruff
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: $(DEV)/.installed-$(MODULE_LIST)  ## mypy, strict
	$(DEV)/bin/mypy pipeline engines training tests benchmarks

# Cameras and databases are tested with real servers. Without root, or not on Debian, those tests are
# skipped and name the missing package; REQUIRE_SERVERS=1 makes that a failure.
# Debian's postgresql makes and starts a cluster when it is installed. The tests start a server of their own on a free
# port, so here no cluster is made; where PostgreSQL is installed already, nothing is changed.
SERVERS := ffmpeg gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly postgresql \
	mosquitto chromium

servers:  ## install the Debian packages that the tests of cameras, databases and the page need (as root; NO_INSTALL=1 refuses)
	@if [ "$$(id -u)" = 0 ] && [ -z "$(NO_INSTALL)" ] && [ -n "$(strip $(SERVERS))" ] && command -v apt-get >/dev/null && \
	! dpkg -s $(SERVERS) >/dev/null 2>&1; then \
		echo 'installing with apt-get (refuse with NO_INSTALL=1; tests that need them are skipped): $(SERVERS)'; \
		apt-get -qq update && \
		{ dpkg -s postgresql-common >/dev/null 2>&1 || { \
			DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql-common >/dev/null && \
			sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf; }; }; \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(SERVERS) >/dev/null || \
		echo 'the servers cannot be installed: tests of cameras and databases will be skipped'; \
	fi

test: lint types servers  ## lint, types and all tests (as root it installs the servers of the tests)
	$(DEV)/bin/python -m pytest --numprocesses 2 --dist loadfile

fuzz: $(DEV)/.installed-$(MODULE_LIST)  ## ten thousand damaged and hostile files; make test runs the first 200
	$(DEV)/bin/python -m benchmarks fuzz --inputs 10000 --json benchmarks/results/fuzz.json

# --- the page ---------------------------------------------------------------------------------
translations: $(DEV)/.installed-$(MODULE_LIST)  ## take new texts of the page into its catalogues, and compile them
	$(DEV)/bin/python tests/translations.py

vendor:  ## fetch the scripts of others that the page and its tests have, and check their hashes (needs npm)
	$(PYTHON) tests/vendored.py

# --- dependencies -----------------------------------------------------------------------------
# Torch is not locked: its builds for CPU and CUDA have other hashes, and constraints.txt has its version.
NOT_LOCKED := torch triton cuda-toolkit $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 \
	cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
COMPILE = $(AUDIT)/bin/uv pip compile setup.cfg --universal --python-version 3.11 --generate-hashes --quiet \
	--no-annotate --no-header --no-emit-index-url --constraint $(AUDIT)/tested.txt

$(AUDIT)/.installed:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --upgrade pip 'uv>=0.5' 'pip-audit>=2.7' 'cyclonedx-bom>=5'
	@touch $@

lock: $(AUDIT)/.installed $(DEV)/.installed-$(MODULE_LIST)  ## write requirements.lock and requirements-test.lock, with hashes, of what is in $(DEV)
	$(DEV)/bin/python -m pip freeze --exclude-editable | sed -n 's/+[a-z0-9]*$$//; /==/p' > $(AUDIT)/tested.txt
	$(COMPILE) $(addprefix --extra ,photos server postgres encryption mqtt) --output-file requirements.lock
	$(COMPILE) --extra test $(addprefix --no-emit-package ,$(NOT_LOCKED)) --output-file requirements-test.lock

audit: $(AUDIT)/.installed  ## look for known vulnerabilities of the locked packages (REQUIRE_AUDIT=1: no answer is a failure)
	@report=$$(mktemp); \
	$(AUDIT)/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off \
		>$$report 2>&1; status=$$?; unknown=$$(grep -c 'could not be audited' $$report); \
	if [ $$unknown = 0 ] && ! grep -qE 'Error|Max retries' $$report; then cat $$report; else \
		grep -vE 'could not be audited|^No known|^Name  *Skip|^---' $$report; \
		echo "NOT AUDITED: the advisory service cannot be reached from here, or does not know $$unknown packages"; \
		status=$${REQUIRE_AUDIT:-0}; \
	fi; \
	rm -f $$report; exit $$status

sbom: $(AUDIT)/.installed $(RUNTIME)/.installed  ## write sbom.json (CycloneDX) of the run-time environment
	$(AUDIT)/bin/cyclonedx-py environment --output-reproducible --output-file sbom.json $(RUNTIME)/bin/python

gpu: $(DEV)/.installed-$(MODULE_LIST)  ## on a machine with an NVIDIA GPU: tests (a skip is a failure), parity and speed, in ten minutes
	$(DEV)/bin/python -m benchmarks gpu

models: $(DEV)/.installed-$(MODULE_LIST)  ## export the detector's networks again
	$(DEV)/bin/python -m facestream.training.export.mtcnn --out engines/models

ship: $(DEV)/.installed-$(MODULE_LIST)  ## make MODEL=runs/…/best.pt the encoder that ships, with thresholds and cohort
	$(DEV)/bin/python -m facestream.training ship $(MODEL)

bench: $(DEV)/.installed-$(MODULE_LIST)  ## facestream and other libraries on whole videos, on this machine
	$(DEV)/bin/python -m benchmarks suite e2e $(wildcard ../shared/data/videos/*.mp4) --json benchmarks/results/peers.json

clean:  ## remove the environments and the demo's output
	rm -rf $(RUNTIME) $(DEV) $(AUDIT) demo build dist sbom.json *.egg-info pipeline/detection/mtcnn/*.so

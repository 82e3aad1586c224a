# The commands of this project. `make demo` and `make test` need nothing but git and make.
BUILD  ?= build/dev
JOBS   ?= $(shell nproc)
FUZZ_SECONDS ?= 10

.PHONY: all setup build demo test unit fuzz accept asan tsan neon cli-docs format-fix format-check tidy-check clean

all: build

setup:
	@tools/setup.sh

build: setup
	@cmake --preset dev >/dev/null && cmake --build $(BUILD) -j $(JOBS)

demo: setup
	@tools/demo.sh

unit: build
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

test: setup
	@tools/test.sh

fuzz: setup
	@tools/fuzz.sh $(FUZZ_SECONDS)

accept: setup
	@tools/accept.sh

asan: setup
	@cmake --preset asan >/dev/null && cmake --build build/asan -j $(JOBS)
	@ctest --test-dir build/asan --output-on-failure

tsan: setup
	@cmake --preset tsan >/dev/null && cmake --build build/tsan -j $(JOBS)
	@ctest --test-dir build/tsan --output-on-failure

neon: setup
	@cmake --preset neon >/dev/null && cmake --build build/neon -j $(JOBS)
	@ctest --preset neon -j $(JOBS)

cli-docs: build
	@tools/cli_docs.py $(BUILD)/bin/onebit $(BUILD)/bin/onebit-toolkit

format-fix:
	@git ls-files 'src/*.h' 'src/*.cc' 'src/*.cu' 'src/*.cuh' 'tests/*.cc' 'bench/*.cc' 'bench/*.cu' | xargs clang-format-14 -i

format-check:
	@git ls-files 'src/*.h' 'src/*.cc' 'src/*.cu' 'src/*.cuh' 'tests/*.cc' 'bench/*.cc' 'bench/*.cu' | xargs clang-format-14 --dry-run -Werror

tidy-check: setup
	@cmake --preset tidy >/dev/null && cmake --build build/tidy -j $(JOBS)

clean:
	@rm -rf build

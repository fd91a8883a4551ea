# wattle: build, run, test.   make run | make check | make V=1 | make SAN=address,undefined
#
#   BUILD=DIR     where objects go (default build, or build-<sanitizers>)
#   FOLDERS=...   the folders of src/ to compile (default all)
#   UNIT=PATTERN  the unit tests and replays of fuzz targets to build and run (default all)
VERSION := 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
comma := ,
BUILD ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
PREFIX ?= /usr/local
FOLDERS ?= base stats model engine meter host plan worker runtime measure store report cmd
UNIT ?= test_* fuzz_*

OPT ?= -O2 -g
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wno-format-truncation -Werror # names and paths are cut to fit on purpose
OPENMP ?= -fopenmp
OPT_ENGINE ?= -O3
CPPFLAGS += -D_GNU_SOURCE -DWATTLE_VERSION='"$(VERSION)"' -Iinclude -Isrc -I$(BUILD)/gen
CFLAGS += -std=c17 $(OPT) $(WARN) -ffp-contract=off -fno-math-errno -MMD -MP
ifneq ($(SAN),)
CFLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS += -fsanitize=$(SAN)
endif

PACKAGES := sqlite3 jansson smartcols libprotobuf-c libzstd libcrypto libzip
CPPFLAGS += $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LIBS := -ldnnl $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lpthread -ldl -lm

ifneq ($(V),1)
quiet = @printf '  %-5s %s\n' $(1) $(2);
.SILENT:
endif

program := $(BUILD)/wattle
archives := $(FOLDERS:%=$(BUILD)/lib/%.a)
libraries := $(BUILD)/libwattle-engine.a $(BUILD)/libwattle-meter.a
sources := $(wildcard src/*.c src/*/*.c src/*/*/*.c)
scripts := $(sort $(wildcard tools/python/*.py tools/zoo/*.py tools/shim/*.cpp))
cli_tests := $(sort $(wildcard tests/cli/test_*.sh))
unit_sources := $(wildcard $(UNIT:%=tests/unit/%.c))
unit_tests := $(unit_sources:tests/unit/%.c=$(BUILD)/tests/%)
fuzz_sources := $(wildcard $(UNIT:%=tests/fuzz/%.c))
fuzz_replays := $(fuzz_sources:tests/fuzz/%.c=$(BUILD)/tests/%)

all: $(program) $(libraries)

# Objects of one folder become one archive; the program and each test take what they need of them.
define folder
objects_$(1) := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(wildcard src/$(1)/*.c src/$(1)/*/*.c)) \
                $(if $(filter model,$(1)),$(BUILD)/obj/gen/onnx.pb-c.o) \
                $(if $(filter runtime,$(1)),$(BUILD)/obj/gen/scripts.o)
$(BUILD)/lib/$(1).a: $$(objects_$(1))
	$$(call quiet,AR,$$@) mkdir -p $$(@D) && rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder,$(f))))

$(BUILD)/obj/engine/%.o: CFLAGS += $(OPT_ENGINE) $(OPENMP)

$(BUILD)/obj/%.o: src/%.c | $(BUILD)/gen/onnx.pb-c.h
	$(call quiet,CC,$<) mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/gen/onnx.pb-c.c $(BUILD)/gen/onnx.pb-c.h &: src/model/onnx.proto
	$(call quiet,GEN,$@) mkdir -p $(BUILD)/gen && protoc-c --proto_path=src/model --c_out=$(BUILD)/gen $<

$(BUILD)/obj/gen/onnx.pb-c.o: $(BUILD)/gen/onnx.pb-c.c
	$(call quiet,CC,$<) mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -Wno-pedantic -Wno-shadow -c -o $@ $<

# The Python and C++ sources that the program brings; a change of their list is seen too.
$(BUILD)/gen/scripts.S: $(scripts) tools/embed tools/python tools/zoo tools/shim
	$(call quiet,GEN,$@) mkdir -p $(BUILD)/gen && tools/embed $(scripts) >$@

$(BUILD)/obj/gen/scripts.o: $(BUILD)/gen/scripts.S
	$(call quiet,AS,$<) mkdir -p $(@D) && $(CC) -c -o $@ $<

# The main program keeps its test hook visible (-rdynamic): see src/worker/child.c.
$(program): $(BUILD)/obj/main.o $(archives)
	$(call quiet,LD,$@) $(CC) $(LDFLAGS) -rdynamic -o $@ $< -Wl,--start-group $(archives) -Wl,--end-group $(LIBS) $(OPENMP)

$(BUILD)/libwattle-engine.a: $(BUILD)/lib/engine.a $(BUILD)/lib/model.a $(BUILD)/lib/base.a
$(BUILD)/libwattle-meter.a: $(BUILD)/lib/meter.a $(BUILD)/lib/base.a
$(libraries):
	$(call quiet,AR,$@) rm -f $@ && (for a in $^; do echo "addlib $$a"; done | sed '1i create $@'; echo save; echo end) | $(AR) -M

$(BUILD)/obj/tests/%.o: tests/unit/%.c | $(BUILD)/gen/onnx.pb-c.h
	$(call quiet,CC,$<) mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit -Wno-pedantic $(OPENMP) -c -o $@ $<

# Tests named test_alloc_* run their subject with each allocation failing in turn.
wrapped := malloc calloc realloc strdup strndup
$(BUILD)/tests/test_alloc_%: LDFLAGS += $(wrapped:%=-Wl,--wrap=%)

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(archives)
	$(call quiet,LD,$@) mkdir -p $(@D) && $(CC) $(LDFLAGS) -rdynamic -o $@ $< -Wl,--start-group $(archives) -Wl,--end-group $(LIBS) -lcmocka $(OPENMP)

# Targets of tests/fuzz: a program that replays the files of a folder, or one in which libFuzzer makes
# inputs up.
$(BUILD)/obj/fuzz/%.o: tests/fuzz/%.c | $(BUILD)/gen/onnx.pb-c.h
	$(call quiet,CC,$<) mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/tests/fuzz_%: $(BUILD)/obj/fuzz/fuzz_%.o $(BUILD)/obj/fuzz/replay.o $(archives) | $(BUILD)/tools/worker_of_lines
	$(call quiet,LD,$@) mkdir -p $(@D) && $(CC) $(LDFLAGS) -rdynamic -o $@ $(filter %.o,$^) -Wl,--start-group $(archives) -Wl,--end-group $(LIBS) $(OPENMP)

$(BUILD)/fuzz/%: $(BUILD)/obj/fuzz/fuzz_%.o $(archives) | $(BUILD)/tools/worker_of_lines
	$(call quiet,LD,$@) mkdir -p $(@D) && $(CC) $(LDFLAGS) -fsanitize=fuzzer -rdynamic -o $@ $< -Wl,--start-group $(archives) -Wl,--end-group $(LIBS) $(OPENMP)

.PRECIOUS: $(BUILD)/obj/tests/%.o $(BUILD)/obj/fuzz/%.o $(BUILD)/obj/%.o $(BUILD)/tools/%

# --- what people type --------------------------------------------------------------------------

run_models := resnet50 mobilenet_v2 bert_base

# A second make, because pkg-config knows the packages only once they are installed. Fewer blocks where
# several runtimes are measured, to stay within minutes.
run:
	tools/packages run
	$(MAKE) --no-print-directory -j$$(nproc) all
	cells=$$($(program) run $(run_models) --dry-run | grep -c '^cell'); \
	$(program) run $(run_models) -b 1 --blocks $$((cells > 3 ? 1 : 3)) --verify || \
	    { [ $$? -eq 3 ] && echo "make run: completed, but the machine was too busy for valid figures"; }

check:
	tools/packages check
	$(MAKE) --no-print-directory -j$$(nproc) build-tests
	$(MAKE) --no-print-directory check-all

build-tests: all $(unit_tests) $(fuzz_replays) $(BUILD)/tools/sysroot_writer

check-all: check-folders check-clang check-unit check-cli

check-unit: $(unit_tests) $(fuzz_replays)
	tests/run $(unit_tests) $(fuzz_replays)

# Small programs that tests start.
$(BUILD)/tools/%: tests/tools/%.c
	$(call quiet,CC,$<) mkdir -p $(@D) && $(CC) -std=c17 -D_GNU_SOURCE -O2 $(WARN) -o $@ $<

check-cli: $(program) $(libraries) $(BUILD)/tools/sysroot_writer
	BUILD=$(BUILD) tests/run $(cli_tests)

# Where a GPU and ONNX Runtime for it are; elsewhere it says what is missing.
check-gpu: $(program)
	BUILD=$(BUILD) tests/gpu/check.sh

check-folders:
	tools/check-folders

# clang's warnings, without building: two OpenMP runtimes must not meet in one program.
check-clang: $(BUILD)/gen/onnx.pb-c.h
	$(call quiet,CLANG,src) clang -fsyntax-only $(CPPFLAGS) $(filter-out -MMD -MP -Wno-format-truncation,$(CFLAGS)) $(OPENMP) $(sources)

# clang-tidy's chosen checks; some minutes.
check-tidy: $(BUILD)/gen/onnx.pb-c.h
	$(call quiet,TIDY,src) tools/tidy $(CPPFLAGS) -std=c17 $(OPENMP) -- $(sources)

# libDNNL brings GCC's OpenMP: neither clang's runtime nor a sanitizer may meet it in a parallel loop of ours.
without_openmp := OPENMP=-lgomp WARN=-w
tsan_tests := test_worker_* test_meter_* test_measure_* test_host_* test_base_* test_engine_threads

# make fuzz TARGET=onnx: libFuzzer with sanitizers for FUZZ_SECONDS. What it finds of interest is kept in
# build-fuzz/corpus, an input that fails in build-fuzz. CONTRIBUTING.md tells the rest.
TARGET ?=
FUZZ_SECONDS ?= 60
FUZZ_FLAGS ?=
FUZZ_CC ?= clang
# A file may make the engine turn NaN into an integer: the CPU gives some number, and what that then does
# is looked at. -fsanitize=undefined of GCC, which the unit tests run under, leaves it out too.
fuzz_sanitizers := fuzzer-no-link,address,undefined -fno-sanitize=float-cast-overflow
fuzz_options := -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 $(FUZZ_FLAGS)
fuzz:
	[ -f tests/fuzz/fuzz_$(TARGET).c ] || { echo "make fuzz TARGET=NAME, one of:" $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)); exit 2; }
	tools/packages fuzz
	$(MAKE) --no-print-directory -j$$(nproc) CC="$(FUZZ_CC)" $(without_openmp) BUILD=build-fuzz OPT="-O1 -g" OPT_ENGINE= SAN="$(fuzz_sanitizers)" build-fuzz/fuzz/$(TARGET)
	mkdir -p build-fuzz/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET)
	ASAN_OPTIONS=allocator_may_return_null=1 build-fuzz/fuzz/$(TARGET) $(fuzz_options) -artifact_prefix=build-fuzz/$(TARGET)- build-fuzz/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET)

# ThreadSanitizer does not know what libgomp waits for, and sees races in every parallel loop: here the
# engine is built without, so that what is seen are engines, workers and meters in threads of their own.
check-tsan:
	$(MAKE) --no-print-directory -j$$(nproc) $(without_openmp) SAN=thread UNIT="$(tsan_tests)" build-tests
	$(MAKE) --no-print-directory $(without_openmp) SAN=thread UNIT="$(tsan_tests)" check-unit

# What takes longer than people wait: for CI and before a release.
check-long: check check-tidy check-tsan
	$(MAKE) --no-print-directory -j$$(nproc) SAN=address,undefined build-tests
	$(MAKE) --no-print-directory SAN=address,undefined check-unit

clean:
	rm -rf build build-*

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

.PHONY: all run check build-tests check-all check-unit check-cli check-gpu check-folders check-clang check-tidy check-tsan check-long fuzz clean

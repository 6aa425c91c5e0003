# SPDX-License-Identifier: Apache-2.0
#
# Strait's build. Sources are found by folder: a new file needs no line here. `make help` lists the
# targets, `make V=1` shows commands.
#
# Knobs: CC=clang-14, SANITIZE=address,undefined or thread, COVERAGE=1 (each a build directory of
# its own), V=1, T=test_name (unit), LAYERS="base rpc" (link tests against these folders only, when
# the rest does not compile yet), BUILD=dir, DESTDIR=, PREFIX=.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# Every core, unless the caller says -j. MAKEFLAGS does not show a caller's -j while the makefile is
# read, and only the outermost make may decide.
ifeq ($(MAKELEVEL),0)
ifeq ($(shell tr '\0' ' ' </proc/$$PPID/cmdline | grep -E -- ' (-j|--jobs)'),)
MAKEFLAGS += -j$(shell nproc)
endif
endif

BUILD ?= build
PREFIX ?= /usr/local
SANITIZE ?=
COVERAGE ?=
ifeq ($(origin CC),default)
CC := gcc
endif
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-7s %s\n' '$(1)' '$(2)')

# ---- variant: one directory per compiler and instrumentation ------------------------------------

empty :=
space := $(empty) $(empty)
comma := ,
IS_CLANG := $(findstring clang,$(CC))
VARIANT := $(subst $(space),-,$(strip $(if $(IS_CLANG),$(notdir $(CC))) \
	$(subst $(comma),-,$(SANITIZE)) $(if $(filter 1,$(COVERAGE)),coverage)))
OUT := $(BUILD)$(if $(VARIANT),/$(VARIANT))
GEN := $(BUILD)/gen

# ---- flags --------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef \
	-Wvla -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion \
	-Wdate-time -Werror
ifeq ($(IS_CLANG),)
WARNINGS += -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init -Walloca
else
# clang sees into the initialiser macros of protobuf-c, which cast const away; gcc watches our casts.
# CHECK(!"what cannot be") is meant as it stands.
WARNINGS := $(filter-out -Wcast-qual,$(WARNINGS)) -Wno-string-conversion
endif

# Vendor headers are system headers: their warnings are not ours to fix.
PACKAGES := libpq libmariadb sqlite3 libcyaml libmicrohttpd jansson libprotobuf-c
VENDOR := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PACKAGES) 2>/dev/null))

BASE_FLAGS := -std=c17 -D_GNU_SOURCE -g -fvisibility=hidden -fno-omit-frame-pointer -pthread
HARDENING := -O2 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIE
LDFLAGS_ALL := -pthread -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifneq ($(SANITIZE),)
HARDENING := -O1 -fPIE -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
LDFLAGS_ALL += -fsanitize=$(SANITIZE)
# Sanitizer instrumentation makes gcc see null dereferences that cannot happen.
WARNINGS := $(filter-out -Wnull-dereference,$(WARNINGS))
endif
ifeq ($(COVERAGE),1)
HARDENING := -O0 -fPIE --coverage
LDFLAGS_ALL += --coverage
endif
CFLAGS_ALL := $(BASE_FLAGS) $(HARDENING) -I. -isystem $(GEN) $(VENDOR) $(CFLAGS)
CFLAGS_OURS := $(CFLAGS_ALL) $(WARNINGS)
CFLAGS_GEN := $(CFLAGS_ALL) -w
# -MD, not -MMD: generated headers are found through -isystem and must be tracked too.
DEPFLAGS = -MD -MP -MF $(@:.o=.d)

LIBS := -lgrpc -lgpr -lnats -lpq -lmariadb -lsqlite3 -lmicrohttpd -ljansson -lcyaml -lyaml \
	-lprotobuf-c -lzstd -lz -lxxhash -lssl -lcrypto -lm

# ---- sources ------------------------------------------------------------------------------------

# Layers in the order of the architecture. `bus` is the transport contract inside replicator/, low
# enough for everybody; `node` is what lies directly in cluster/.
FOLDERS := $(patsubst cluster/%/,%,$(filter-out cluster/tests/,$(wildcard cluster/*/)))
sources_conflict := $(wildcard conflict/*.c)
sources_bus := $(wildcard replicator/bus*.c)
sources_replicator := $(filter-out $(sources_bus),$(wildcard replicator/*.c))
sources_node := $(filter-out cluster/main.c,$(wildcard cluster/*.c))
$(foreach f,$(FOLDERS),$(eval sources_$(f) := $(wildcard cluster/$(f)/*.c)))

PROTOS := $(wildcard proto/*.proto)
SCHEMA_SQL := $(sort $(wildcard cluster/store/schema/*/*.sql))
GEN_SOURCES := $(PROTOS:%.proto=$(GEN)/%.pb-c.c) $(if $(wildcard cluster/store/schema),$(GEN)/schema.c)
GEN_HEADERS := $(GEN_SOURCES:.c=.h)
sources_gen := $(strip $(GEN_SOURCES))

ORDER := gen base bus conflict store matching visibility engine namespace replicator failover \
	frontend rpc console cli node
ALL_LAYERS := $(foreach l,$(ORDER) $(filter-out $(ORDER),$(FOLDERS)),$(if $(sources_$(l)),$(l)))

# What the tests of a folder are linked against: its own layer and those below, so that nobody waits
# for a layer that he must not use anyway.
UP_base := gen base
UP_conflict := $(UP_base) conflict
UP_store := $(UP_conflict) bus store
UP_engine := $(UP_store) engine matching visibility
UP_matching := $(UP_engine)
UP_visibility := $(UP_engine)
UP_namespace := $(UP_engine) namespace
UP_replicator := $(UP_namespace) replicator
UP_failover := $(UP_replicator) failover
UP_frontend := $(UP_failover) frontend
UP_rpc := gen base bus rpc
UP_console := $(UP_frontend) rpc console
UP_cli := gen base rpc cli
layers_of = $(filter $(if $(LAYERS),gen $(LAYERS),$(or $(UP_$(1)),$(ALL_LAYERS))),$(ALL_LAYERS))

objects = $(patsubst $(GEN)/%.c,$(OUT)/obj/gen/%.o,$(filter $(GEN)/%,$(1))) \
	$(patsubst %.c,$(OUT)/obj/%.o,$(filter-out $(GEN)/%,$(1)))
archive = $(OUT)/lib/lib$(1).a
archives = $(foreach l,$(1),$(call archive,$(l)))

BINARY := $(if $(wildcard cluster/main.c),$(OUT)/strait)

TEST_FOLDERS := conflict/tests replicator/tests cluster/tests $(FOLDERS:%=cluster/%/tests)
TEST_SOURCES := $(wildcard $(TEST_FOLDERS:%=%/test_*.c))
CONFORMANCE_SOURCES := $(wildcard $(TEST_FOLDERS:%=%/conformance_*.c))
BENCH_SOURCES := $(wildcard $(TEST_FOLDERS:%=%/bench_*.c))
SUPPORT_SOURCES := $(wildcard $(foreach f,$(TEST_FOLDERS),$(f)/*_fixture.c $(f)/*support*.c))
test_binary = $(patsubst %.c,$(OUT)/tests/%,$(notdir $(1)))
UNIT_SOURCES := $(if $(T),$(filter $(addprefix %/,$(addsuffix .c,$(T))),$(TEST_SOURCES)),$(TEST_SOURCES))

# ---- main targets -------------------------------------------------------------------------------

.PHONY: all run test check unit conformance descriptors sim integration chaos bench fuzz lint format coverage \
	deps install clean help golden tests FORCE

all: $(call archives,$(ALL_LAYERS)) $(BINARY) ## build everything (default)

run: ## what a visitor wants: install what is missing, build, show the demo
	$(Q).ci/deps.sh build
	$(Q)$(MAKE) --no-print-directory all
	$(Q)test -x $(OUT)/strait || { echo "run: not there yet: no cluster/main.c"; exit 2; }
	$(Q)$(OUT)/strait demo

test: ## everything a change must pass: deps, lint, units, conformance, scenarios
	$(Q)$(MAKE) --no-print-directory deps
	$(Q)$(MAKE) --no-print-directory lint
	$(Q)$(MAKE) --no-print-directory unit
	$(Q)$(MAKE) --no-print-directory conformance
	$(Q)$(MAKE) --no-print-directory descriptors
	$(Q)if [ -e integration-tests/run.sh ]; then $(MAKE) --no-print-directory integration; \
		else echo "integration: not there yet"; fi

check: ## lint and unit tests
	$(Q)$(MAKE) --no-print-directory lint
	$(Q)$(MAKE) --no-print-directory unit

tests: $(call test_binary,$(TEST_SOURCES) $(CONFORMANCE_SOURCES) $(BENCH_SOURCES))

unit: $(call test_binary,$(UNIT_SOURCES)) ## unit tests (T=test_name runs one)
	$(Q).ci/unit.py $(if $(filter 1,$(V)),--verbose) $(sort $^)

conformance: $(call test_binary,$(CONFORMANCE_SOURCES)) ## one suite against every store driver
	$(Q)if [ -n "$^" ]; then .ci/unit.py --serial $(sort $^); \
		else echo "conformance: not there yet"; fi

descriptors: ## compare proto/ with the official descriptors (needs npm)
	$(Q)if command -v npm >/dev/null; then proto/tests/check_descriptors.py --fetch $(BUILD)/cache; \
		else echo "descriptors: SKIPPED: npm is not installed"; fi

integration: all ## scenarios with real processes
	$(Q)if [ -e integration-tests/run.sh ]; then integration-tests/run.sh; \
		else echo "integration: not there yet"; exit 2; fi

sim: ## the simulator (SEED=)
	@echo "sim: not there yet (issue 4)"; exit 2
chaos: ## kills and partitions under docker-compose
	@echo "chaos: not there yet (issue 6)"; exit 2
bench: all $(call test_binary,$(BENCH_SOURCES)) ## measure; prints ratios, asserts nothing (BENCH=micro or system)
	$(Q)for bench in $(if $(filter system,$(BENCH)),,$(sort $(call test_binary,$(BENCH_SOURCES)))); do \
		echo "== $${bench##*/}"; $$bench || exit; done
	$(Q)$(if $(filter micro,$(BENCH)),,STRAIT=$(OUT)/strait integration-tests/bench/run.sh $(BENCH_ARGS))
fuzz: ## fuzz every decoder that faces a wire or a disk
golden: ## record the expected output of golden cases again
fuzz golden:
	@echo "$@: not there yet"; exit 2

deps: ## install the Debian packages that are missing
	$(Q).ci/deps.sh

lint: $(call archives,$(filter conflict,$(ALL_LAYERS))) ## format, layers, sizes, bans, cppcheck, shellcheck
	$(Q).ci/lint.sh $(call archives,$(filter conflict,$(ALL_LAYERS)))

format: ## rewrite the sources in house style
	$(Q).ci/lint.sh --format

clean: ## remove everything built
	$(Q)rm -rf $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@sed -n '/^# Knobs/,/^$$/s/^# /  /p' $(firstword $(MAKEFILE_LIST))

# ---- rules --------------------------------------------------------------------------------------

# A file whose content is $(2); rewritten, and so newer, only when that changes.
define stamp
$(1): FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$(subst ','\'',$(2))' | cmp -s - $$@ || printf '%s\n' '$(subst ','\'',$(2))' > $$@
endef
FORCE:

$(eval $(call stamp,$(OUT)/flags.txt,$(CC) $(CFLAGS_OURS)))

$(GEN)/proto/%.pb-c.c $(GEN)/proto/%.pb-c.h: proto/%.proto
	$(call say,PROTOC,$<)
	$(Q)mkdir -p $(GEN)/proto $(GEN)/new.$$$$ && protoc-c --c_out=$(GEN)/new.$$$$ $< && \
		mv -f $(GEN)/new.$$$$/proto/* $(GEN)/proto/ && rm -rf $(GEN)/new.$$$$

$(GEN)/schema.c $(GEN)/schema.h &: .ci/embed_schema.py $(SCHEMA_SQL)
	$(call say,EMBED,cluster/store/schema)
	$(Q)mkdir -p $(GEN)
	$(Q).ci/embed_schema.py $(GEN) $(SCHEMA_SQL)

$(OUT)/obj/gen/%.o: $(GEN)/%.c $(OUT)/flags.txt | $(GEN_HEADERS)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_GEN) $(DEPFLAGS) -c -o $@ $<

$(OUT)/obj/%.o: %.c $(OUT)/flags.txt | $(GEN_HEADERS)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_OURS) $(DEPFLAGS) -c -o $@ $<

# The list file makes an archive forget the objects of removed sources.
define archive_rule
$(call stamp,$(OUT)/lib/$(1).txt,$(sources_$(1)))
$(call archive,$(1)): $(call objects,$(sources_$(1))) $(OUT)/lib/$(1).txt
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(or $$(AR),ar) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach l,$(ALL_LAYERS),$(eval $(call archive_rule,$(l))))

$(OUT)/strait: $(OUT)/obj/cluster/main.o $(call archives,$(ALL_LAYERS))
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# $(1) source, $(2) layer
define test_rule
$(call test_binary,$(1)): $(call objects,$(1) $(filter $(dir $(1))%,$(SUPPORT_SOURCES))) \
		$(call archives,$(call layers_of,$(2)))
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBS) -lcmocka
endef
test_layer = $(patsubst cluster,node,$(notdir $(patsubst %/tests/,%,$(dir $(1)))))
$(foreach t,$(TEST_SOURCES) $(CONFORMANCE_SOURCES) $(BENCH_SOURCES),$(eval $(call test_rule,$(t),$(call test_layer,$(t)))))

install: all ## install under $(DESTDIR)$(PREFIX)
	$(Q)test -x $(OUT)/strait || { echo "install: not there yet: no cluster/main.c"; exit 2; }
	$(Q)install -D -m 755 $(OUT)/strait $(DESTDIR)$(PREFIX)/bin/strait
	$(Q)install -d $(DESTDIR)$(PREFIX)/share/strait/configs
	$(Q)install -m 644 $(wildcard configs/*.yaml) $(DESTDIR)$(PREFIX)/share/strait/configs

coverage: ## line coverage of the unit tests
ifeq ($(COVERAGE),1)
	$(Q)$(MAKE) --no-print-directory unit
	$(Q).ci/coverage.py $(OUT)/obj
else
	$(Q)$(MAKE) --no-print-directory coverage COVERAGE=1
endif

OBJECTS := $(call objects,$(foreach l,$(ALL_LAYERS),$(sources_$(l))) $(wildcard cluster/main.c) \
	$(TEST_SOURCES) $(CONFORMANCE_SOURCES) $(BENCH_SOURCES) $(SUPPORT_SOURCES))
.SECONDARY: $(OBJECTS) $(GEN_SOURCES) $(GEN_HEADERS)
-include $(OBJECTS:.o=.d)

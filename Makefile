# weir: one Makefile, no configure. `make help` lists what there is to do.
# Objects live in $(BUILD)/<mode>/; the release tools are linked to $(BUILD)/.

MODE  ?= release
BUILD ?= build
CC    ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang-14
CLANG_FORMAT ?= clang-format-14
PREFIX ?= /usr/local
V     ?= 0
Q     := $(if $(filter 1,$(V)),,@)
VERSION := $(shell cat VERSION)

PACKAGES := libwebsockets libuv jansson libxxhash openssl
WARN  := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
DEFS  := -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"'
BASE_CFLAGS := -std=gnu11 $(WARN) $(DEFS) -I. -g -fno-omit-frame-pointer -pthread \
               $(shell pkg-config --cflags $(PACKAGES))
LIBS  := $(shell pkg-config --libs $(PACKAGES)) -lnats -lhttp_parser -lpthread -lm

CFLAGS_release := -O2 -DNDEBUG -DWEIR_JEMALLOC
LIBS_release   := -ljemalloc
CFLAGS_debug   := -Og
CFLAGS_asan    := -O1 -fsanitize=address
CFLAGS_ubsan   := -O1 -fsanitize=undefined -fno-sanitize-recover=all
CFLAGS_tsan    := -O1 -fsanitize=thread
CFLAGS_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
CFLAGS_cover   := -O0 --coverage

OUT := $(BUILD)/$(MODE)
CFLAGS += $(BASE_CFLAGS) $(CFLAGS_$(MODE))

LIB_SRC  := $(wildcard base/*.c throttle/*.c presence/*.c hub/*.c gateway/*.c gateway/*/*.c)
LIB_SRC  := $(filter-out gateway/main.c,$(LIB_SRC))
LIB_OBJ  := $(LIB_SRC:%.c=$(OUT)/%.o)
KIT_OBJ  := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/kit/*.c tests/model/*.c))
TEST_SRC := $(wildcard $(foreach d,base throttle presence hub gateway gateway/* kit tools loadtest, \
                                   tests/$(d)/*_test.c))
KIT_OBJ  := $(filter-out $(TEST_SRC:%.c=$(OUT)/%.o),$(KIT_OBJ))
TESTS    := $(TEST_SRC:%.c=$(OUT)/%)
BENCHES  := $(patsubst %.c,$(OUT)/%,$(wildcard tests/bench/*_bench.c))
FUZZERS  := $(patsubst %.c,$(OUT)/%,$(wildcard tests/fuzz/*_fuzz.c))
LOAD_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard loadtest/*.c))
FEED_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard examples/hostfeed*.c))
TOOLS    := weir weir-load wsecho hostfeed
ALL_SRC  := $(LIB_SRC) $(wildcard gateway/main.c) $(TEST_SRC) \
            $(wildcard tests/kit/*.c tests/model/*.c tests/bench/*.c tests/fuzz/*.c \
                       tests/tools/*.c loadtest/*.c examples/*.c)
ALL_SRC  := $(sort $(ALL_SRC))

# Where tests leave logs and sanitizers their reports.
LOGS    ?= $(BUILD)/test-logs
REPORTS := $(OUT)/reports

# The end-to-end tests of each mode: all of them, unless a mode names fewer.
# A page is a page: the browser's tests need no sanitized gateway twice.
E2E_WIRE  := $(sort $(wildcard tests/e2e/*.test.js tests/check/*.test.js))
E2E       := $(E2E_WIRE) $(sort $(wildcard tests/e2e/browser/*.test.js))
E2E_ubsan ?= $(E2E_WIRE)
E2E_tsan  ?= $(E2E_WIRE)
E2E_LIST   = $(if $(filter undefined,$(origin E2E_$(MODE))),$(E2E),$(E2E_$(MODE)))
E2E_HOME  := $(abspath $(BUILD))/e2e

# Seconds one test program may take; sanitizers are slow.
TEST_SECONDS_release := 60
TEST_SECONDS ?= $(or $(TEST_SECONDS_$(MODE)),300)
E2E_SECONDS_release := 180
E2E_SECONDS  ?= $(or $(E2E_SECONDS_$(MODE)),420)
TEST_JOBS    ?= 2
FUZZ_SECONDS ?= 300

export ASAN_OPTIONS  ?= detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS  ?= halt_on_error=0:second_deadlock_stack=1:history_size=4

.PHONY: all
all: tools ## everything: weir and the tools beside it, linked to build/ in release
ifeq ($(MODE),release)
all: $(TOOLS:%=$(BUILD)/%)
endif

.PHONY: tools
tools: $(TOOLS:%=$(OUT)/%)

$(TOOLS:%=$(BUILD)/%): $(BUILD)/%: $(OUT)/%
	$(Q)ln -sfn $(MODE)/$* $@

$(OUT)/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	@$(if $(Q),echo "  CC      $<")
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/libweir.a: $(LIB_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^
# An archive, so that a program takes only what it uses of the kit.
$(OUT)/libkit.a: $(KIT_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^

define link
	@mkdir -p $(@D)
	@$(if $(Q),echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS) -Wl,--as-needed $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS) $(LIBS_$(MODE))
endef

$(OUT)/weir: $(OUT)/gateway/main.o $(OUT)/libweir.a
	$(link)
$(OUT)/weir-load: $(LOAD_OBJ)
	$(link)
$(OUT)/wsecho: $(OUT)/tests/tools/wsecho.o $(OUT)/libweir.a
	$(link)
$(OUT)/hostfeed: $(FEED_OBJ)
	$(link)

TEST_PARTS := $(OUT)/libkit.a $(OUT)/libweir.a
$(OUT)/tests/%_test: LIBS += -lcmocka
$(OUT)/tests/%_test: $(OUT)/tests/%_test.o $(TEST_PARTS)
	$(link)
$(OUT)/tests/%_bench: LIBS += -lcmocka
$(OUT)/tests/%_bench: $(OUT)/tests/%_bench.o $(TEST_PARTS)
	$(link)
$(OUT)/tests/%_fuzz: LIBS += -lcmocka -fsanitize=fuzzer
$(OUT)/tests/%_fuzz: $(OUT)/tests/%_fuzz.o $(TEST_PARTS)
	$(link)

# --- tests ------------------------------------------------------------------

.PHONY: check unit unit-build e2e check-e2e asan ubsan tsan test
check: unit lint ## unit tests and lint

unit-build: $(TESTS)
unit: $(TESTS) ## unit tests in this MODE
	$(Q)tests/run -n unit-$(MODE) -t $(TEST_SECONDS) -j $(TEST_JOBS) \
	    -l $(LOGS) -s $(REPORTS) $(TESTS)

check-e2e: e2e ## the real binary against real clients, nats-server and a browser

e2e: tools $(E2E_HOME)/.installed
	$(Q)NODE_PATH=$(E2E_HOME)/node_modules WEIR_BIN=$(abspath $(OUT))/weir \
	    WEIR_TEST_SLOW=$(if $(filter release debug,$(MODE)),1,5) tests/run -k node -n e2e-$(MODE) -t $(E2E_SECONDS) \
	    -l $(LOGS) -s $(REPORTS) $(E2E_LIST)

SECONDS ?= 60
.PHONY: check-gaps
check-gaps: tools $(E2E_HOME)/.installed ## nothing is lost silently: SECONDS (60) each of nodes, servers and links that break
	$(Q)NODE_PATH=$(E2E_HOME)/node_modules WEIR_BIN=$(abspath $(OUT))/weir \
	    node tests/check/run.js --seconds $(SECONDS) --logs $(LOGS)/check

# The packages the tests need, outside the source tree.
$(E2E_HOME)/.installed: tests/e2e/package.json $(wildcard tests/e2e/package-lock.json)
	@mkdir -p $(@D)
	$(Q)cp $^ $(@D)/
	$(Q)cd $(@D) && npm $(if $(word 2,$^),ci,install) --no-audit --no-fund --loglevel=error
	@touch $@

asan: ## unit and end-to-end tests under AddressSanitizer
ubsan: ## unit and end-to-end tests under UndefinedBehaviorSanitizer
tsan: ## unit and end-to-end tests under ThreadSanitizer
asan ubsan tsan:
	$(Q)$(MAKE) MODE=$@ unit
	$(Q)$(MAKE) MODE=$@ e2e

.PHONY: model
model: ## every interleaving of the splice between history and live, with Spin
	$(Q)tests/model/check-splice -j $(TEST_JOBS) -l $(LOGS)

test: ## everything deploy/test runs, without installing packages
	$(Q)deploy/test --no-install

# --- fuzzing: libFuzzer with clang, corpora in tests/fuzz/corpus/<name> ------

.PHONY: fuzz fuzz-smoke fuzzers
fuzz: ## each fuzz target for FUZZ_SECONDS (300); what is found stays in build/fuzz
	$(Q)$(MAKE) MODE=fuzz CC=$(CLANG) fuzz-run

fuzz-smoke: ## each fuzz target for 10 seconds
	$(Q)$(MAKE) MODE=fuzz CC=$(CLANG) FUZZ_SECONDS=10 fuzz-run

fuzzers: $(FUZZERS)

.PHONY: fuzz-run
fuzz-run: fuzzers
	$(Q)tests/run-fuzz -t $(FUZZ_SECONDS) -o $(OUT) -l $(LOGS) $(FUZZERS)

# --- lint -------------------------------------------------------------------

C_FILES = $(shell find base throttle presence hub gateway loadtest examples tests \
                        -name '*.[ch]' 2>/dev/null)

.PHONY: lint fmt clang-syntax
lint: ## format, include arrows, sizes, clang's warnings, scripts
	$(Q)CLANG_FORMAT=$(CLANG_FORMAT) MAKE='$(MAKE)' tests/lint/run -l $(LOGS)

fmt: ## clang-format over all C files
	$(Q)$(CLANG_FORMAT) -i $(C_FILES)

# Every source compiles with the second compiler too, warnings as errors.
clang-syntax: $(ALL_SRC:%.c=$(BUILD)/clang/%.ok)
$(BUILD)/clang/%.ok: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BASE_CFLAGS) -fsyntax-only -MMD -MP -MT $@ -MF $(@:.ok=.d) $<
	@touch $@
-include $(shell find $(BUILD)/clang -name '*.d' 2>/dev/null)

# --- numbers ----------------------------------------------------------------

.PHONY: bench bench-build loadtest cover cover-report
bench-build: $(BENCHES)
bench: $(BENCHES) ## benchmarks without sockets; they judge ratios, not times
	$(Q)status=0; for b in $(BENCHES); do echo "== $$b"; $$b || status=1; done; exit $$status

loadtest: all ## load scenarios and bare ceilings, as a table
	$(Q)loadtest/run $(abspath $(OUT))

cover: ## line coverage of the unit tests, per file
	$(Q)$(MAKE) MODE=cover CC=gcc cover-report
cover-report: $(TESTS)
	$(Q)find $(OUT) -name '*.gcda' -delete
	-$(Q)tests/run -n unit-cover -t $(TEST_SECONDS) -j 1 -l $(LOGS) $(TESTS)
	$(Q)for o in $(LIB_OBJ); do gcov -n $$o; done 2>/dev/null | \
	    tests/coverage $(LIB_SRC)

# --- use --------------------------------------------------------------------

.PHONY: run install clean help
run: all ## start the gateway with the demo pages, deploy/demo.json
	$(BUILD)/weir -c deploy/demo.json

SHARE = $(DESTDIR)$(PREFIX)/share/weir
install: all ## to PREFIX (/usr/local) under DESTDIR: bin, web pages, example config, unit
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/web $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(OUT)/weir $(OUT)/hostfeed $(DESTDIR)$(PREFIX)/bin/
	cp -R web/. $(SHARE)/web/
	install -m 644 deploy/weir.json $(SHARE)/config.example.json
	sed 's|/usr/local|$(PREFIX)|g' deploy/weir.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service

clean: ## remove what was built
	rm -rf $(addprefix $(BUILD)/,$(TOOLS) release debug asan ubsan tsan fuzz cover clang e2e test-logs)

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: MODE=release|debug|asan|ubsan|tsan|cover BUILD=$(BUILD) CC=$(CC) V=1 PREFIX DESTDIR"

# Objects of tests are made by a chain of rules; keep them.
.PRECIOUS: $(OUT)/%.o
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

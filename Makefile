# Tandem: an XMPP server and a milter in one daemon.
#
#   make            build build/tandemd and build/tandemctl
#   make run        set up and start a development server in ./run (installs what is missing)
#   make check      every test (installs what is missing); T=name runs the tests whose name has it
#   make bench      figures against the floor program; see docs/bench.md
#   make fuzz T=x   run fuzz target x for FUZZ_SECONDS (needs clang); no T: all, one after another
#   make lint       layers, banned calls, clang-format, clang-tidy, cppcheck
#   make format     clang-format in place
#   make docs       regenerate docs/reference from the option tables and descriptors
#   make setup      install the Debian packages that are missing (root or sudo)
#   make install    DESTDIR=, PREFIX=/usr/local, SYSCONFDIR=/etc
#   make uninstall clean help
#
# Variables: SAN=asan|tsan (own object folder), WERROR=1, V=1, CC, CFLAGS, LDFLAGS (yours come last).

SAN ?= none
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
FUZZ_SECONDS ?= 60
ifeq ($(SAN),none)
B := build
else
B := build/$(SAN)
endif
Q := $(if $(V),,@)
VERSION := 0.1.0

# Lowest layer first; a layer's tests link it and those before it.
MODULES := base conf store lua xmpp milter gateway
DIRS_base := gateway/base
DIRS_conf := conf
DIRS_store := store
DIRS_lua := lua
DIRS_xmpp := xmpp xmpp/xep
DIRS_milter := milter
DIRS_gateway := gateway gateway/http gateway/bus
MAINS := gateway/main.c gateway/tandemctl.c

PKGS := libevent libevent_openssl libevent_pthreads openssl expat lua5.4 sqlite3 libgsasl libidn libidn2 \
	gmime-3.0 libcurl libxml-2.0 jansson libpcre2-8 libunbound
# setup must be able to run before the packages exist
ifneq ($(shell command -v pkg-config 2>/dev/null),)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)
endif

WARN := -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wcast-qual -Wwrite-strings -Wpointer-arith \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wimplicit-fallthrough \
	$(if $(WERROR),-Werror)
HARD := -fstack-protector-strong -fstack-clash-protection -fPIE
LDHARD := -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(SAN),asan)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
else ifeq ($(SAN),tsan)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
else
OPT := -O2 -g -D_FORTIFY_SOURCE=2
endif
ALL_CFLAGS = -std=gnu11 $(OPT) $(WARN) $(HARD) -D_GNU_SOURCE -DTANDEM_VERSION='"$(VERSION)"' \
	-DTANDEM_SRCDIR='"$(CURDIR)"' -I. $(PKG_CFLAGS) $(CFLAGS)
# for the objects below DIR_OBJ only, so that another PREFIX at "make install" does not build everything again
DIR_CFLAGS = -DTANDEM_DATADIR='"$(PREFIX)/share/tandem"'
ALL_LIBS = $(PKG_LIBS) -lwslay -lmilter -lcrypt -lpthread -lm
ALL_LDFLAGS = $(OPT) $(LDHARD) $(LDFLAGS)

src_of = $(filter-out $(MAINS),$(sort $(foreach d,$(DIRS_$(1)),$(wildcard $(d)/*.c))))
obj_of = $(patsubst %.c,$(B)/obj/%.o,$(1))
lib_of = $(B)/lib$(1).a
# libraries for layer $(1) and below, highest first (link order)
below = $(if $(1),$(call upto,$(1),$(MODULES)))
upto = $(if $(2),$(if $(filter $(1),$(firstword $(2))),$(call lib_of,$(1)),$(call upto,$(1),$(wordlist 2,99,$(2))) $(call lib_of,$(firstword $(2)))))
ALL_A := $(call upto,gateway,$(MODULES))

UNIT_SRC := $(sort $(wildcard tests/unit/*/test_*.c))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT_SRC))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/tests/%,$(FUZZ_SRC))
BENCH_BIN := $(patsubst tests/bench/%.c,$(B)/tests/bench-%,$(sort $(wildcard tests/bench/*.c)))
PY := /usr/bin/python3
# all processors, unless make was told with -j
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all setup setup-run run check bench fuzz lint format docs install uninstall clean help units fuzzers benches FORCE
.DEFAULT_GOAL := all

all: $(B)/tandemd $(B)/tandemctl

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# A change of flags rebuilds everything, one of folders what names them.
quoted = '$(subst ','\'',$(1))'
$(B)/.flags: FORCE
	$(if $(PKG_LIBS),,@echo 'make: libraries are missing; "make setup" installs them' >&2; exit 1)
	@mkdir -p $(B)
	@echo $(call quoted,$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)) | cmp -s - $@ || \
		echo $(call quoted,$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)) > $@
$(B)/.dirs: FORCE
	@mkdir -p $(B)
	@echo $(call quoted,$(DIR_CFLAGS)) | cmp -s - $@ || echo $(call quoted,$(DIR_CFLAGS)) > $@

DIR_OBJ := $(call obj_of,lua/bundle.c gateway/options.c)
$(DIR_OBJ): $(B)/.dirs
$(DIR_OBJ): OBJ_CFLAGS = $(DIR_CFLAGS)

$(B)/obj/%.o: %.c $(B)/.flags
	@mkdir -p $(dir $@)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(ALL_CFLAGS) $(OBJ_CFLAGS) -MMD -MP -c -o $@ $<

define module_rule
$(call lib_of,$(1)): $(call obj_of,$(call src_of,$(1)))
	@mkdir -p $$(dir $$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module_rule,$(m))))

$(B)/tandemd: $(B)/obj/gateway/main.o $(ALL_A)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_LDFLAGS) -rdynamic -o $@ $< $(ALL_A) $(ALL_LIBS)

# of the libraries it takes what it calls: reading files, hashing passwords
$(B)/tandemctl: $(B)/obj/gateway/tandemctl.o $(ALL_A)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(ALL_LIBS)

define unit_rule
$(B)/tests/$(1)/test_%: $(B)/obj/tests/unit/$(1)/test_%.o $(call upto,$(1),$(MODULES))
	@mkdir -p $$(dir $$@)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(CHECK_LIBS) $$(ALL_LIBS)
endef
$(foreach m,$(MODULES),$(eval $(call unit_rule,$(m))))

# Without a fuzz engine a target is linked with a main that replays its corpus.
ifdef FUZZ_ENGINE
FUZZ_LD := -fsanitize=fuzzer
FUZZ_MAIN :=
else
FUZZ_MAIN := $(B)/obj/tests/fuzz/replay.o
endif
$(B)/tests/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(FUZZ_MAIN) $(ALL_A)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(FUZZ_LD) -o $@ $^ $(ALL_LIBS)

$(B)/tests/bench-%: $(B)/obj/tests/bench/%.o $(ALL_A)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

units: $(UNIT_BIN)
fuzzers: $(FUZZ_BIN)
benches: $(BENCH_BIN)
all units fuzzers benches:
	@:

setup:
	@sh tools/setup.sh
setup-run:
	@sh tools/setup.sh run

# Packages first, then make again: pkg-config is asked when the Makefile is read.
run: setup-run
	@$(MAKE) --no-print-directory $(JOBS) all
	@sh tools/run.sh "$(B)"

check: setup
	@$(MAKE) --no-print-directory $(JOBS) all units fuzzers
	@$(PY) tests/run.py --build $(B) --san $(SAN) $(if $(T),--only "$(T)")

bench: setup
	@$(MAKE) --no-print-directory $(JOBS) all benches
	@$(PY) tests/bench/bench.py --build $(B) $(BENCH_ARGS)

fuzz:
	@sh tests/fuzz/fuzz.sh "$(T)" $(FUZZ_SECONDS)

lint:
	@sh tests/lint/lint.sh

format:
	clang-format -i $(wildcard $(foreach d,$(foreach m,$(MODULES),$(DIRS_$(m))) tests/unit/* tests/fuzz tests/bench,$(d)/*.c $(d)/*.h))

docs: all
	@sh tools/gendocs.sh $(B)

install: all
	install -d "$(DESTDIR)$(PREFIX)/sbin" "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/tandem/lua" \
		"$(DESTDIR)$(PREFIX)/share/doc/tandem" "$(DESTDIR)$(SYSCONFDIR)/tandem" "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	install -m 755 $(B)/tandemd "$(DESTDIR)$(PREFIX)/sbin/tandemd"
	install -m 755 $(B)/tandemctl "$(DESTDIR)$(PREFIX)/bin/tandemctl"
	cp -R lua/tandem lua/msys lua/scripts "$(DESTDIR)$(PREFIX)/share/tandem/lua/"
	cp -R docs/. "$(DESTDIR)$(PREFIX)/share/doc/tandem/"
	sed 's|@PREFIX@|$(PREFIX)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g' tools/tandem.service.in \
		> "$(DESTDIR)$(PREFIX)/lib/systemd/system/tandem.service"
	test -e "$(DESTDIR)$(SYSCONFDIR)/tandem/tandem.conf" || \
		install -m 640 conf/examples/minimal.conf "$(DESTDIR)$(SYSCONFDIR)/tandem/tandem.conf"
	test -n "$(DESTDIR)" || ! getent group tandem >/dev/null || chgrp tandem "$(SYSCONFDIR)/tandem/tandem.conf"

uninstall:
	rm -rf "$(DESTDIR)$(PREFIX)/sbin/tandemd" "$(DESTDIR)$(PREFIX)/bin/tandemctl" "$(DESTDIR)$(PREFIX)/share/tandem" \
		"$(DESTDIR)$(PREFIX)/share/doc/tandem" "$(DESTDIR)$(PREFIX)/lib/systemd/system/tandem.service"

clean:
	rm -rf build

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
.SECONDARY:

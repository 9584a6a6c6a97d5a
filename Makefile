# replication_plugin: multi-leader replication for PostgreSQL
EXTENSION = replication_plugin
EXTVERSION = 1.1
MODULE_big = replication_plugin
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c src/*/*/*.c)))
DATA = src/schema/update/replication_plugin--1.0.sql
DATA_built = replication_plugin--$(EXTVERSION).sql replication_plugin--1.0--1.1.sql
EXTRA_CLEAN = tmp_check

# "make installcheck" runs a course of lessons on the server that the PG* variables name, and some TAP files on servers of
# their own. First it says what that server lacks.
REGRESS = $(notdir $(basename $(sort $(wildcard $(srcdir)/sql/*.sql))))
REGRESS_PREP = fit_server
TAP_TESTS = 1
PROVE_TESTS = test/t/010_mesh.pl test/t/100_smoke.pl

PG_CPPFLAGS = -I$(srcdir)/src -I$(libpq_srcdir) -Wextra -Werror=implicit-function-declaration -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
SHLIB_LINK_INTERNAL = $(libpq)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
# no JIT bitcode: nothing here is inlined into queries
override with_llvm = no
include $(PGXS)

override PROVE_FLAGS += -I test/lib
.PHONY: fit_server
fit_server:
	@$(bindir)/psql -XAtq -d postgres -f $(srcdir)/sql/00_server.sql

# The install script is made from one file per topic, in order of their names.
replication_plugin--$(EXTVERSION).sql: $(sort $(wildcard src/schema/*.sql))
	(printf '%s\n' '\echo Use "CREATE EXTENSION replication_plugin" to load this file. \quit'; cat $^) > $@

# An update drops the views and makes them again, replaces all functions, and does by hand what else has changed:
# src/schema/update/README.md.
update = $(srcdir)/src/schema/update
replaced = $(filter-out %/10_tables.sql %/60_triggers.sql, $(sort $(wildcard src/schema/*.sql)))
replication_plugin--1.0--1.1.sql: $(sort $(wildcard src/schema/*.sql src/schema/update/*.sql))
	(printf '%s\n' '\echo Use "ALTER EXTENSION replication_plugin UPDATE" to load this file. \quit'; \
	cat $(update)/views_before.sql; \
	sed -n 's/^CREATE VIEW \([a-z_]*\).*/\1/p' $(update)/replication_plugin--1.0.sql | sed '1s/^/DROP VIEW /; $$!s/$$/,/; $$s/$$/;/'; \
	cat $(update)/1.0--1.1.sql; \
	sed 's/^CREATE FUNCTION /CREATE OR REPLACE FUNCTION /' $(replaced); \
	cat $(update)/views_after.sql) > $@

# Each installs what is missing, works in a private directory and leaves nothing behind.
.PHONY: test demo bench fuzz format
test:
	@bash $(srcdir)/test/bin/run $(TESTS)
demo:
	@bash $(srcdir)/test/bin/demo
bench:
	@bash $(srcdir)/bench/run
# SECONDS or RUNS for each target; TARGETS names some; FUZZ_OUT keeps what grows (test/fuzz/README.md)
fuzz:
	@FUZZ_SECONDS=$(or $(SECONDS),3600) FUZZ_RUNS=$(RUNS) bash $(srcdir)/test/fuzz/run $(TARGETS)
format:
	clang-format -i $(srcdir)/src/*.[ch] $(srcdir)/src/*/*.[ch] $(srcdir)/src/*/*/*.[ch]

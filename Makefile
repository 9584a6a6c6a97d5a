# replication_plugin: multi-leader replication for PostgreSQL
EXTENSION = replication_plugin
EXTVERSION = 1.0
MODULE_big = replication_plugin
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built = replication_plugin--$(EXTVERSION).sql
EXTRA_CLEAN = tmp_check

PG_CPPFLAGS = -I$(srcdir)/src -I$(libpq_srcdir) -Wextra -Werror=implicit-function-declaration -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
SHLIB_LINK_INTERNAL = $(libpq)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
# no JIT bitcode: nothing here is inlined into queries
override with_llvm = no
include $(PGXS)

# The install script is made from one file per topic, in order of their names.
replication_plugin--$(EXTVERSION).sql: $(sort $(wildcard src/schema/*.sql))
	(printf '%s\n' '\echo Use "CREATE EXTENSION replication_plugin" to load this file. \quit'; cat $^) > $@

# Each installs what is missing, works in a private directory and leaves nothing behind.
.PHONY: test demo bench format
test:
	@bash $(srcdir)/test/bin/run $(TESTS)
demo:
	@bash $(srcdir)/test/bin/demo
bench:
	@bash $(srcdir)/bench/run
format:
	clang-format -i $(srcdir)/src/*.[ch] $(srcdir)/src/*/*.[ch]
